//! The command line: `[--quick] [FIGURE]...`

use std::process::exit;

/// What a run is asked to do.
pub(crate) struct Args {
    /// A smoke run: it says that the bench works, its figures say nothing.
    pub(crate) quick: bool,
    figures: Vec<String>,
    role: Option<String>,
}

impl Args {
    /// Reads the command line. The process ends here when it makes no sense.
    pub(crate) fn read() -> Self {
        let mut args = Self {
            quick: false,
            figures: Vec::new(),
            role: None,
        };
        let mut given = std::env::args().skip(1);
        while let Some(arg) = given.next() {
            match arg.as_str() {
                // What cargo says to every bench.
                "--bench" => {}
                "--quick" => args.quick = true,
                "--role" => args.role = given.next(),
                _ if arg.starts_with('-') => {
                    eprintln!("usage: [--quick] [FIGURE]...; there is no {arg}");
                    exit(2);
                }
                _ => args.figures.push(arg),
            }
        }
        args
    }

    /// What this process is, when it is a child of the bench.
    pub(crate) fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// Whether one of these figures is to be measured: all are, unless some are named.
    pub(crate) fn wants(&self, figures: &[&str]) -> bool {
        let named = |figure: &&str| self.figures.iter().any(|name| figure.contains(&**name));
        self.figures.is_empty() || figures.iter().any(named)
    }

    /// `full` of something, or in a smoke run `quick` of it.
    pub(crate) fn pick(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}
