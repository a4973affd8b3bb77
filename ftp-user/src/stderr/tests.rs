//! Readers that hang and disks that are full.

use super::*;
use std::io::{BufRead as _, BufReader, Read as _};
use std::sync::mpsc;

const LONG: Duration = Duration::from_secs(10);

/// Lines that are carried to `out`, and what is told of lost ones.
fn carried(out: impl Write + Send + 'static) -> (&'static Lines, mpsc::Receiver<u64>) {
    carried_after(GATHER, out)
}

fn carried_after(
    gather: Duration,
    out: impl Write + Send + 'static,
) -> (&'static Lines, mpsc::Receiver<u64>) {
    let lines: &Lines = Box::leak(Box::new(Lines::new(gather)));
    let (told, hear) = mpsc::channel();
    lines.lock().carried = true;
    thread::spawn(move || {
        lines.carry(out, |lost| {
            told.send(lost).unwrap();
            assert!(lines.take(format!("{lost} lost\n").as_bytes()));
        });
    });
    (lines, hear)
}

#[test]
fn a_pipe_that_nobody_reads_holds_nobody_up() {
    let (reader, mut writer) = io::pipe().unwrap();
    // As much as it takes (pipe(7)).
    let filling = format!("{}\n", "f".repeat((1 << 16) - 1));
    writer.write_all(filling.as_bytes()).unwrap();
    let (lines, told) = carried(writer);
    let line = |number: usize| format!("{number} {}\n", "x".repeat(990));
    assert!(lines.take(line(0).as_bytes()));
    // The thread has it in its hands, and waits.
    while !lines.lock().waiting.is_empty() {
        thread::yield_now();
    }
    const MANY: usize = 4000;
    for number in 1..MANY {
        assert!(lines.take(line(number).as_bytes()));
    }
    lines.flush(Duration::from_millis(1));
    assert!(told.try_recv().is_err());
    let mut reader = BufReader::new(reader).lines().map(Result::unwrap);
    assert!(reader.next().unwrap().starts_with('f'));
    // In order, up to where there was no room; then the number of the others.
    let mut seen = 0;
    let said = loop {
        let said = reader.next().unwrap();
        if said.ends_with("lost") {
            break said;
        }
        assert_eq!(format!("{said}\n"), line(seen));
        seen += 1;
    };
    assert!(seen > MOST_WAITING / 1000, "{seen}");
    assert_eq!(said, format!("{} lost", MANY - seen));
    assert_eq!(told.recv_timeout(LONG).unwrap(), (MANY - seen) as u64);
    lines.take(b"next\n");
    assert_eq!(reader.next().unwrap(), "next");
}

#[test]
fn what_is_flushed_is_written() {
    let (mut reader, writer) = io::pipe().unwrap();
    let (lines, _told) = carried(writer);
    for text in ["first\nand more\n", "second\n"] {
        lines.take(text.as_bytes());
        lines.flush(LONG);
        let mut said = vec![0; text.len()];
        // Would wait for ever.
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        reader.read_exact(&mut said).unwrap();
        assert_eq!(said, text.as_bytes());
    }
}

#[test]
fn lines_that_come_close_together_are_written_in_one_go() {
    let (file, written) = mpsc::channel();
    let disk = Disk {
        room: 0,
        refuses: 0,
        file,
    };
    let (lines, _told) = carried_after(100 * LONG, disk);
    for text in ["first\n", "second\n", "third\n"] {
        lines.take(text.as_bytes());
    }
    lines.flush(LONG);
    assert_eq!(written.try_recv().unwrap(), b"first\nsecond\nthird\n");
}

/// A disk with some room, then none, then a lot.
struct Disk {
    room: usize,
    refuses: usize,
    file: mpsc::Sender<Vec<u8>>,
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 && self.refuses > 0 {
            self.refuses -= 1;
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let most = if self.refuses > 0 { self.room } else { 4096 };
        let taken = bytes.len().min(most);
        self.room = self.room.saturating_sub(taken);
        self.file.send(bytes[..taken].to_vec()).unwrap();
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_was_full_gets_whole_lines_again() {
    let (file, written) = mpsc::channel();
    let (lines, told) = carried(Disk {
        room: 9,
        refuses: 2,
        file,
    });
    for text in ["first\n", "second\n", "third\n", "fourth\n"] {
        lines.take(text.as_bytes());
        lines.flush(LONG);
    }
    assert_eq!(told.recv_timeout(LONG).unwrap(), 2);
    lines.flush(LONG);
    let written: Vec<u8> = written.try_iter().flatten().collect();
    let written = String::from_utf8(written).unwrap();
    assert_eq!(written, "first\nsec\nfourth\n2 lost\n");
}

#[test]
fn pieces_are_whole_lines() {
    let long = format!("{}\n", "x".repeat(PIECE));
    let short = format!("{}\n", "y".repeat(PIECE / 3));
    let text = format!("{short}{long}{short}{short}{short}end");
    let found: Vec<_> = pieces(text.as_bytes()).map(<[u8]>::len).collect();
    let (long, short) = (long.len(), short.len());
    assert_eq!(found, [short, long, 2 * short, short, 3]);
}
