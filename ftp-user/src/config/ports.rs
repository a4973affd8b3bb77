//! Sets of TCP ports, as admins write them: "30000-50000,!33060". No sockets here.

use std::fmt;
use std::num::NonZeroU16;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A set of TCP ports, never empty and never with port 0 in it.
///
/// Written as ports and ranges with commas between them; "!" leaves a port or range out, wherever
/// it stands. `Display` writes the shortest such text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortSet {
    /// Ascending, disjoint and not adjacent: (first, last).
    ranges: Box<[(u16, u16)]>,
}

/// A text that is no set of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortSetError {
    /// A piece between commas is neither a port nor a range.
    #[error("\"{0}\" is not a port (1 to 65535) or a range such as 30000-50000")]
    NotAPort(String),
    /// A range's end lies before its start.
    #[error("the range {0}-{1} runs backwards: did you mean {1}-{0}?")]
    Backwards(u16, u16),
    /// Nothing is left.
    #[error("no port is left in it: name at least one, such as 30000-50000")]
    Empty,
}

impl PortSet {
    /// This port alone.
    pub fn one(port: NonZeroU16) -> PortSet {
        PortSet {
            ranges: Box::new([(port.get(), port.get())]),
        }
    }

    /// The ports from the range's start to its end, if there are any and port 0 is not among them.
    pub fn range(range: RangeInclusive<u16>) -> Option<PortSet> {
        let (first, last) = range.into_inner();
        (first != 0 && first <= last).then(|| PortSet {
            ranges: Box::new([(first, last)]),
        })
    }

    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= port);
        let range = after.checked_sub(1).and_then(|at| self.ranges.get(at));
        range.is_some_and(|&(_, last)| port <= last)
    }

    /// How many ports there are: 1 to 65535.
    #[expect(clippy::len_without_is_empty, reason = "a PortSet is never empty")]
    pub fn len(&self) -> usize {
        self.ranges.iter().copied().map(width).sum()
    }

    /// All ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.ranges.iter().flat_map(|&(first, last)| first..=last)
    }

    /// The ranges that the set is made of, ascending and apart.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        self.ranges.iter().map(|&(first, last)| first..=last)
    }

    /// A port that is not in `other`, if there is one.
    pub fn outside(&self, other: &PortSet) -> Option<u16> {
        self.iter().find(|&port| !other.contains(port))
    }

    /// Those that are not in `other`, if there are any.
    pub fn without(&self, other: &PortSet) -> Option<PortSet> {
        let left = subtract(self.ranges.to_vec(), &other.ranges);
        (!left.is_empty()).then(|| PortSet {
            ranges: left.into_boxed_slice(),
        })
    }

    /// Those that are wanted, if there are any.
    pub fn only(&self, wanted: impl Fn(u16) -> bool) -> Option<PortSet> {
        let ports = self.iter().filter(|&port| wanted(port));
        let left = union(ports.map(|port| (port, port)).collect());
        (!left.is_empty()).then(|| PortSet {
            ranges: left.into_boxed_slice(),
        })
    }

    /// The port with `index` ports below it, or `None` beyond the last.
    pub fn nth(&self, mut index: usize) -> Option<u16> {
        for &range in &self.ranges {
            if index < width(range) {
                return u16::try_from(usize::from(range.0) + index).ok();
            }
            index -= width(range);
        }
        None
    }
}

impl Default for PortSet {
    /// 30000-50000, the sample's.
    fn default() -> PortSet {
        PortSet {
            ranges: Box::new([(30000, 50000)]),
        }
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for PortSet {
    type Err = PortSetError;

    fn from_str(text: &str) -> Result<PortSet, PortSetError> {
        let mut included = Vec::new();
        let mut excluded = Vec::new();
        for piece in text.split(',').map(str::trim) {
            match piece.strip_prefix('!') {
                Some(left_out) => excluded.push(range(left_out.trim_start())?),
                None if piece.is_empty() && text.trim().is_empty() => {}
                None => included.push(range(piece)?),
            }
        }
        let ranges = subtract(union(included), &union(excluded));
        if ranges.is_empty() {
            return Err(PortSetError::Empty);
        }
        Ok(PortSet {
            ranges: ranges.into_boxed_slice(),
        })
    }
}

impl Serialize for PortSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PortSet, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn width((first, last): (u16, u16)) -> usize {
    usize::from(last - first) + 1
}

fn range(piece: &str) -> Result<(u16, u16), PortSetError> {
    let port = |text: &str| {
        // Digits only: u16's own parser takes "+5" too.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let port = digits.then(|| text.parse().ok()).flatten();
        port.filter(|&port: &u16| port != 0)
            .ok_or_else(|| PortSetError::NotAPort(piece.to_owned()))
    };
    let (first, last) = match piece.split_once('-') {
        Some((first, last)) => (port(first.trim_end())?, port(last.trim_start())?),
        None => (port(piece)?, port(piece)?),
    };
    if first > last {
        return Err(PortSetError::Backwards(first, last));
    }
    Ok((first, last))
}

/// Sorts, and joins what overlaps or touches.
fn union(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

/// `ranges` without the ports of `holes`, both as `union` makes them.
fn subtract(ranges: Vec<(u16, u16)>, holes: &[(u16, u16)]) -> Vec<(u16, u16)> {
    let mut left = Vec::with_capacity(ranges.len());
    for (mut first, last) in ranges {
        let mut open = true;
        for &(from, to) in holes {
            if to < first || from > last {
                continue;
            }
            if from > first {
                left.push((first, from - 1));
            }
            if to >= last {
                open = false;
                break;
            }
            first = to + 1;
        }
        if open {
            left.push((first, last));
        }
    }
    left
}

#[cfg(test)]
mod tests;
