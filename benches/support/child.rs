//! Processes of the bench's own: the same program in another role.

use std::{
    env::current_exe,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
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
        Self::spawn(Command::new(program()), role).expect("this program can be started again")
    }

    /// Starts it by a command that ends with this program.
    pub(crate) fn spawn(mut command: Command, role: &str) -> io::Result<Self> {
        let mut process = command
            .args(["--role", role])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let says = process.stdout.take().expect("its output is piped");
        Ok(Self {
            process,
            says: BufReader::new(says),
        })
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

pub(crate) fn program() -> PathBuf {
    current_exe().expect("a program knows where it is")
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
