//! Processes of the bench's own: the same program in another role.

use std::{
    env::current_exe,
    io::{self, BufRead, BufReader, Read, Write},
    process::{Child as Process, ChildStdout, Command, Stdio, exit},
    thread,
};

/// A child process. It is ended when this is dropped, and ends by itself when this process does.
pub(crate) struct Child {
    process: Process,
    says: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program in that role.
    pub(crate) fn start(role: &str) -> Self {
        let program = current_exe().expect("a program knows where it is");
        let mut process = Command::new(program)
            .args(["--role", role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let says = process.stdout.take().expect("its output is piped");
        Self {
            process,
            says: BufReader::new(says),
        }
    }

    /// The next line that it says.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).expect("a child says text");
        assert!(!line.is_empty(), "a child ended before it was ready");
        line.truncate(line.trim_end().len());
        line
    }

    /// The numbers of the next line.
    pub(crate) fn numbers<T: std::str::FromStr, const N: usize>(&mut self) -> [T; N] {
        let line = self.line();
        let numbers = line.split(' ').filter_map(|number| number.parse().ok());
        let numbers: Vec<T> = numbers.collect();
        numbers
            .try_into()
            .unwrap_or_else(|_| panic!("not {N} numbers: {line}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// In a child: says a line to its parent.
pub(crate) fn say(line: &str) {
    let mut out = io::stdout();
    let said = writeln!(out, "{line}").and_then(|()| out.flush());
    said.expect("the parent listens");
}

/// In a child: ends this process when its parent ends, however that comes about.
pub(crate) fn end_with_parent() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        exit(0);
    });
}
