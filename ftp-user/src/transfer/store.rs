//! What becomes of the bytes that came in: inflated (MODE Z), their line ends converted (TYPE A),
//! written. In memory that does not grow, whatever a stream inflates to.

use super::error::TransferError;
use crate::proto::ascii::FromNetwork;
use crate::vfs::Upload;
use flate2::{Decompress, FlushDecompress, Status};
use std::io::Write;

/// Bytes taken at a time that are written much as they are.
const PLAIN: usize = 256 << 10;
/// Bytes taken at a time that are to be inflated, to a thousand times as many at the most.
const DEFLATED: usize = 16 << 10;
/// Bytes inflated before they are written.
const INFLATED: usize = 64 << 10;

/// How the bytes that come in are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// CRLF becomes LF (TYPE A).
    pub ascii: bool,
    /// They are one zlib stream (MODE Z).
    pub deflated: bool,
}

impl Received {
    /// As they are: TYPE I in MODE S.
    pub const AS_THEY_ARE: Received = Received {
        ascii: false,
        deflated: false,
    };
}

/// A file that is being received.
pub(super) struct Store {
    upload: Upload,
    inflate: Option<Inflate>,
    convert: Option<FromNetwork>,
    converted: Vec<u8>,
}

struct Inflate {
    stream: Decompress,
    out: Vec<u8>,
    ended: bool,
}

impl Store {
    /// Stores into `upload` from where it stands.
    pub(super) fn new(upload: Upload, how: Received) -> Store {
        Store {
            upload,
            inflate: how.deflated.then(|| Inflate {
                stream: Decompress::new(true),
                out: Vec::with_capacity(INFLATED),
                ended: false,
            }),
            convert: how.ascii.then(FromNetwork::default),
            converted: Vec::new(),
        }
    }

    /// How many bytes are worth taking at a time.
    pub(super) fn appetite(&self) -> usize {
        match self.inflate {
            Some(_) => DEFLATED,
            None => PLAIN,
        }
    }

    /// Whether taking them may be long although the disk is not: they are inflated, or counted.
    pub(super) fn is_long(&self) -> bool {
        self.inflate.is_some() || self.upload.is_counted()
    }

    /// Whether they may become many more than they are.
    pub(super) fn computes(&self) -> bool {
        self.inflate.is_some()
    }

    /// Whether its end may be long; see [`Upload::ends_long`].
    pub(super) fn ends_long(&self) -> bool {
        self.is_long() || self.upload.ends_long()
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), TransferError> {
        let Store {
            upload,
            inflate,
            convert,
            converted,
        } = self;
        match inflate {
            None => write(upload, convert, converted, bytes),
            Some(inflate) => inflate.take(bytes, |inflated| {
                write(upload, convert, converted, inflated)
            }),
        }
    }

    /// There are no more.
    pub(super) fn finish(&mut self) -> Result<(), TransferError> {
        if let Some(inflate) = &self.inflate
            && !inflate.ended
            // Nothing at all is an empty file to clients that have nothing to compress.
            && inflate.stream.total_in() > 0
        {
            return Err(TransferError::Inflate("it ends too early"));
        }
        if let Some(convert) = &mut self.convert {
            self.converted.clear();
            convert.finish(&mut self.converted);
            store(&mut self.upload, &self.converted)?;
        }
        Ok(())
    }

    /// What it all went into, to be completed.
    pub(super) fn into_upload(self) -> Upload {
        self.upload
    }
}

impl Inflate {
    fn take(
        &mut self,
        mut bytes: &[u8],
        mut write: impl FnMut(&[u8]) -> Result<(), TransferError>,
    ) -> Result<(), TransferError> {
        // A full buffer may have left something inside: ask again also when all is taken.
        let mut full = false;
        while !bytes.is_empty() || full {
            if self.ended {
                return Err(TransferError::Inflate("something follows its end"));
            }
            self.out.clear();
            let before = self.stream.total_in();
            let status = self
                .stream
                .decompress_vec(bytes, &mut self.out, FlushDecompress::None)
                .map_err(|_| TransferError::Inflate("it is broken"))?;
            let taken = usize::try_from(self.stream.total_in() - before).unwrap_or_default();
            bytes = bytes.get(taken..).unwrap_or_default();
            self.ended = status == Status::StreamEnd;
            full = self.out.len() == self.out.capacity() && !self.ended;
            write(&self.out)?;
            if taken == 0 && self.out.is_empty() && !bytes.is_empty() && !self.ended {
                return Err(TransferError::Inflate("it does not go on"));
            }
        }
        Ok(())
    }
}

fn write(
    upload: &mut Upload,
    convert: &mut Option<FromNetwork>,
    converted: &mut Vec<u8>,
    bytes: &[u8],
) -> Result<(), TransferError> {
    let bytes = match convert {
        None => bytes,
        Some(convert) => {
            converted.clear();
            convert.convert(bytes, converted);
            converted
        }
    };
    store(upload, bytes)
}

/// What counts towards a file's size and a quota is what is written.
fn store(upload: &mut Upload, bytes: &[u8]) -> Result<(), TransferError> {
    let stored = upload.store(bytes.len(), |file| file.write_all(bytes));
    stored.map_err(TransferError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::{Read, Seek};

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Stores `bytes` in pieces; what is in the file then.
    fn store(bytes: &[u8], piece: usize, how: Received) -> Result<Vec<u8>, TransferError> {
        let file = tempfile::tempfile().unwrap();
        let mut same = file.try_clone().unwrap();
        let mut store = Store::new(Upload::into_file(file), how);
        bytes
            .chunks(piece)
            .try_for_each(|piece| store.take(piece))?;
        store.finish()?;
        let mut content = Vec::new();
        same.rewind().unwrap();
        same.read_to_end(&mut content).unwrap();
        Ok(content)
    }

    const DEFLATE: Received = Received {
        ascii: false,
        deflated: true,
    };

    #[test]
    fn streams_are_inflated_whatever_pieces_they_come_in() {
        let text: Vec<u8> = (0..200_000u32)
            .flat_map(|n| n.to_string().into_bytes())
            .collect();
        for bytes in [Vec::new(), b"abc".to_vec(), vec![0; 10_000_000], text] {
            for piece in [1, 1000, DEFLATED] {
                let deflated = deflate(&bytes);
                if piece == 1 && deflated.len() > 100_000 {
                    continue;
                }
                assert!(store(&deflated, piece, DEFLATE).unwrap() == bytes);
            }
        }
        assert_eq!(store(b"", 1, DEFLATE).unwrap(), b"");
        let ascii = Received {
            ascii: true,
            deflated: true,
        };
        let stored = store(&deflate(b"a\r\nb\r"), 1, ascii).unwrap();
        assert_eq!(stored, b"a\nb\r");
    }

    #[test]
    fn streams_that_are_none_are_refused() {
        let good = deflate(&[7; 100_000]);
        let cut = &good[..good.len() - 1];
        let mut broken = good.clone();
        *broken.last_mut().unwrap() ^= 1;
        let longer = [&good[..], b"x"].concat();
        for bad in [cut, &broken, &longer, b"plain text, not compressed"] {
            for piece in [1, 1 << 20] {
                let stored = store(bad, piece, DEFLATE);
                assert!(matches!(stored, Err(TransferError::Inflate(_))));
            }
        }
    }
}
