//! Commands that came in while a transfer ran, in order, until it is over.

use super::Line;
use crate::proto::{Command, parse};
use std::collections::VecDeque;

/// What they may take of memory, in bytes: more than a thousand commands.
const MOST: usize = 64 << 10;

/// Commands that wait, in order. The same one many times, as clients keep a connection alive, takes no
/// more than one.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    runs: VecDeque<Run>,
    /// What the runs take.
    bytes: usize,
}

#[derive(Debug)]
struct Run {
    line: Line,
    times: u64,
}

impl Run {
    fn bytes(&self) -> usize {
        size_of::<Run>() + self.line.as_ref().map_or(0, Vec::len)
    }
}

impl Waiting {
    /// Keeps a line, if there is room.
    #[must_use]
    pub(super) fn keep(&mut self, line: Line) -> bool {
        if let Some(last) = self.runs.back_mut().filter(|last| last.line == line) {
            last.times = last.times.saturating_add(1);
            return true;
        }
        let run = Run { line, times: 1 };
        let bytes = self.bytes + run.bytes();
        if bytes > MOST {
            return false;
        }
        self.bytes = bytes;
        self.runs.push_back(run);
        true
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Option<Line> {
        let first = self.runs.front_mut()?;
        if first.times > 1 {
            first.times -= 1;
            return Some(first.line.clone());
        }
        let first = self.runs.pop_front()?;
        self.bytes -= first.bytes();
        if self.runs.is_empty() {
            // What is idle stays small.
            *self = Waiting::default();
        }
        Some(first.line)
    }

    /// Whether the client has said that it will go.
    pub(super) fn has_quit(&self) -> bool {
        let mut lines = self.runs.iter().flat_map(|run| &run.line);
        lines.any(|line| matches!(parse(line), Ok(Command::Quit)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::line::LineError;

    #[test]
    fn lines_come_back_in_order_as_often_as_they_came() {
        let lines: [Line; 5] = [
            Ok(b"NOOP".to_vec()),
            Ok(b"NOOP".to_vec()),
            Err(LineError::TooLong),
            Ok(b"quit".to_vec()),
            Ok(b"NOOP".to_vec()),
        ];
        let mut waiting = Waiting::default();
        for line in &lines {
            assert!(!waiting.has_quit() || *line == lines[4]);
            assert!(waiting.keep(line.clone()));
        }
        assert!(waiting.has_quit());
        for line in lines {
            assert_eq!(waiting.next(), Some(line));
        }
        assert_eq!(waiting.next(), None);
        assert_eq!((waiting.bytes, waiting.runs.capacity()), (0, 0));
    }

    #[test]
    fn keep_alives_take_no_room_and_others_no_more_than_there_is() {
        let mut waiting = Waiting::default();
        for _ in 0..1_000_000 {
            assert!(waiting.keep(Ok(b"NOOP".to_vec())));
        }
        let mut kept = 0;
        while waiting.keep(Ok(format!("CWD {kept}").into_bytes())) {
            kept += 1;
        }
        assert!((1000..MOST / size_of::<Run>()).contains(&kept), "{kept}");
        assert!(waiting.bytes <= MOST);
        // One that has room is kept after all.
        while waiting.next() == Some(Ok(b"NOOP".to_vec())) {}
        assert!(waiting.keep(Ok(b"NOOP".to_vec())));
    }
}
