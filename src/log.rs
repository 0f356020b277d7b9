//! The log: one event, one line, whatever the text in it.

use std::io::{self, Write};

/// A writer of events, each given whole. Line breaks within one become spaces, so that nothing
/// that came with a request begins a line of its own; in JSON they are escaped already.
#[derive(Debug)]
pub struct OneLine<W>(pub W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let (text, end) = match event.strip_suffix(b"\n") {
            Some(text) => (text, "\n"),
            None => (event, ""),
        };
        let is_break = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let mut line: Vec<u8> =
            text.iter().map(|byte| if is_break(byte) { b' ' } else { *byte }).collect();
        line.extend(end.bytes());
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
