//! What a compressed file holds, as a stream. Never more of it in memory than its decoder's window.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Compressed bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Uncompressed bytes asked of the zstd decoder at once.
const BLOCKS: usize = 128 * 1024;
/// The largest window of a zstd frame: that of level 20. `--long` and level 22 ask for more.
const MAX_WINDOW: u64 = 32 << 20;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// What a file that begins with `head` is compressed by, if by anything that we can read. No line of a log begins like that.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// What the file holds, from its beginning.
    pub(crate) fn unpack(self, file: Arc<File>, progress: Arc<AtomicU64>) -> Box<dyn Read + Send> {
        let source = BufReader::with_capacity(BUFFER, At { file, progress });
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(source)),
            Self::Zstd => Box::new(Frames { source, decoder: FrameDecoder::new(), in_frame: false }),
        }
    }
}

/// A file read from a place of its own, so that several readers may share it.
struct At {
    file: Arc<File>,
    progress: Arc<AtomicU64>,
}

impl At {
    fn at(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at())?;
        self.progress.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// All frames of a zstd file, one after another; frames that only carry notes are skipped.
struct Frames {
    source: BufReader<At>,
    decoder: FrameDecoder,
    in_frame: bool,
}

impl Frames {
    /// Begins the next frame. Says whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        let mut header = [0; 18];
        let here = self.source.get_ref().at() - self.source.buffer().len() as u64;
        let length = self.source.get_ref().file.read_at(&mut header, here)?;
        if length == 0 {
            return Ok(false);
        }
        if window(&header).is_some_and(|window| window > MAX_WINDOW) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a zstd frame asks for too much memory"));
        }
        match self.decoder.reset(&mut self.source) {
            Ok(()) => self.in_frame = true,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                io::copy(&mut (&mut self.source).take(u64::from(length)), &mut io::sink())?;
            }
            Err(error) => return Err(damaged(&error)),
        }
        Ok(true)
    }

    /// Ends a frame whose content was all given out.
    fn end(&mut self) -> io::Result<()> {
        self.in_frame = false;
        let written = self.decoder.get_checksum_from_data();
        if written.is_some() && written != self.decoder.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a zstd frame has another checksum than its content"));
        }
        Ok(())
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.in_frame && self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            if self.in_frame && self.decoder.is_finished() {
                self.end()?;
            }
            if self.in_frame {
                self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBytes(BLOCKS)).map_err(|e| damaged(&e))?;
            } else if !self.begin()? {
                return Ok(0);
            }
        }
    }
}

fn damaged(error: &FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// The window that a frame's header asks for, by RFC 8878 §3.1.1.1; `None` if this is no frame, or one that tells its size
/// instead, which is then the window.
fn window(header: &[u8; 18]) -> Option<u64> {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = header else { return None };
    let single_segment = descriptor & 0x20 != 0;
    if !single_segment {
        let (exponent, mantissa) = (u32::from(rest[0] >> 3), u64::from(rest[0] & 7));
        let base = 1_u64 << (10 + exponent);
        return Some(base + base / 8 * mantissa);
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = match descriptor >> 6 {
        0 => 1,
        1 => 2,
        2 => 4,
        _ => 8,
    };
    let mut bytes = [0; 8];
    bytes.get_mut(..size)?.copy_from_slice(rest.get(dictionary..dictionary + size)?);
    Some(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must fail")]
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn unpacked(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        let mut out = Vec::new();
        Packing::of(bytes).unwrap().unpack(Arc::new(file), Arc::default()).read_to_end(&mut out)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn text() -> Vec<u8> {
        (0..40_000).flat_map(|n| format!("{n} a line of a log\n").into_bytes()).collect()
    }

    #[test]
    fn members_and_frames_are_read_one_after_another() {
        let (text, zstd) = (text(), |bytes: &[u8]| compress_to_vec(bytes, CompressionLevel::Fastest));
        let twice = [text.clone(), b"end\n".to_vec()].concat();
        assert!(unpacked(&[gzip(&text), gzip(b"end\n")].concat()).unwrap() == twice);
        let note = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        let frames = [zstd(&text), note.to_vec(), zstd(b"end\n"), note.to_vec()].concat();
        assert!(unpacked(&frames).unwrap() == twice);
    }

    #[test]
    fn what_is_cut_off_or_damaged_is_an_error() {
        let (text, zstd) = (text(), compress_to_vec(&text()[..], CompressionLevel::Fastest));
        for whole in [gzip(&text), zstd] {
            assert!(unpacked(&whole[..whole.len() / 2]).is_err());
            let mut damaged = whole.clone();
            damaged[whole.len() / 2] ^= 1;
            assert!(unpacked(&damaged).is_err());
        }
    }

    #[test]
    fn a_frame_that_asks_for_too_much_memory_is_refused() {
        // A window of 2 GiB, as `--long=31` writes it.
        assert!(unpacked(&[0x28, 0xb5, 0x2f, 0xfd, 0, 21 << 3, 1, 0, 0]).unwrap_err().to_string().contains("memory"));
        // One segment of 2 GiB.
        assert!(unpacked(&[0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0x80, 1, 0, 0]).unwrap_err().to_string().contains("memory"));
    }
}
