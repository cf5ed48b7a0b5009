//! What a bench prints: tables for people, and lines for scripts.

/// Prints tables as they come, and every figure once more at the end.
#[derive(Default)]
pub(crate) struct Report {
    lines: Vec<String>,
}

impl Report {
    /// One table, its first line the heads of its columns.
    pub(crate) fn table(&self, title: &str, rows: &[Vec<String>]) {
        println!("\n{title}");
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(width).collect();
        for row in rows {
            let mut line = String::new();
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                line += &match at {
                    0 => format!("  {cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            println!("{line}");
        }
    }

    /// A figure: `figure NAME VALUE`.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        self.lines.push(format!("figure {name} {}", short(value)));
    }

    /// One point of a plot: `series NAME X PEER VALUE`.
    pub(crate) fn point(&mut self, series: &str, x: &str, peer: &str, value: f64) {
        let value = short(value);
        self.lines
            .push(format!("series {series} {x} {peer} {value}"));
    }

    /// Every figure and point, for scripts.
    pub(crate) fn finish(self) {
        println!();
        for line in self.lines {
            println!("{line}");
        }
    }
}

/// A row of a table.
#[macro_export]
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($cell.to_string()),*] };
}

/// Four digits that count, or all before the point.
pub(crate) fn short(value: f64) -> String {
    let before = value.abs().max(1.0).log10().floor() as usize;
    let text = format!("{value:.*}", 3_usize.saturating_sub(before));
    match text.trim_start_matches('-').parse() {
        Ok(0.0) => "0".to_owned(),
        _ => text,
    }
}
