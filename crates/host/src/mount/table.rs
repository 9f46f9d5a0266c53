//! The kernel's table of mounts, `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// The kernel's number for it.
    pub id: u64,
    /// The mount that it is on.
    pub parent: u64,
    /// The folder of its file system that it shows.
    pub root: PathBuf,
    /// Where it is.
    pub path: PathBuf,
    /// Its options, such as `ro` and `nosuid`.
    pub options: Vec<String>,
    /// Whether it shares what happens below it with other mounts.
    pub shared: bool,
    /// The kind of file system.
    pub kind: String,
}

/// Reads the table; lines of another form are skipped.
#[must_use]
pub fn parse_table(text: &[u8]) -> Vec<MountPoint> {
    text.split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

fn parse_line(line: &[u8]) -> Option<MountPoint> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut text = || {
        fields
            .next()
            .and_then(|field| std::str::from_utf8(field).ok())
    };
    let (id, parent) = (text()?.parse().ok()?, text()?.parse().ok()?);
    let _device = text()?;
    let (root, path) = (unescaped(fields.next()?), unescaped(fields.next()?));
    let options = String::from_utf8_lossy(fields.next()?)
        .split(',')
        .map(str::to_owned)
        .collect();
    // Optional fields end with a single dash.
    let optional: Vec<&[u8]> = fields.by_ref().take_while(|field| *field != b"-").collect();
    let shared = optional.iter().any(|field| field.starts_with(b"shared:"));
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    Some(MountPoint {
        id,
        parent,
        root,
        path,
        options,
        shared,
        kind,
    })
}

/// The kernel writes space, tab, line feed and backslash as three octal digits after a backslash.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| {
            *first == b'\\' && digits.iter().all(|one| (b'0'..=b'7').contains(one))
        });
        match digits {
            Some(digits) => {
                bytes.push(digits.iter().fold(0_u8, |sum, digit| {
                    sum.wrapping_mul(8).wrapping_add(digit - b'0')
                }));
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let text = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\nnonsense\n";
        let table = parse_table(text);
        assert_eq!(table.len(), 1);
        let mount = &table[0];
        assert_eq!(
            (mount.id, mount.parent, mount.kind.as_str()),
            (36, 35, "ext3")
        );
        assert_eq!(mount.path, PathBuf::from("/mnt 2"));
        assert_eq!(mount.root, PathBuf::from("/mnt1"));
        assert_eq!(mount.options, ["rw", "noatime"]);
        assert!(mount.shared);
    }

    #[test]
    fn the_own_table_is_read() {
        let own = crate::fs::read_bounded(std::path::Path::new("/proc/self/mountinfo"), 64 << 20)
            .unwrap();
        assert!(
            parse_table(&own)
                .iter()
                .any(|mount| mount.path == std::path::Path::new("/"))
        );
    }
}
