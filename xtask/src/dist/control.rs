//! What a Debian package says of itself: the fields of its control file (deb-control(5)). Text only.

use std::env;

use super::Package;

/// The control file of a package whose files take `kib` KiB.
pub(super) fn control(package: &Package<'_>, kib: usize) -> String {
    let Package {
        version,
        architecture,
        ..
    } = package;
    format!(
        "Package: pinhole\n\
         Version: {version}\n\
         Architecture: {architecture}\n\
         Maintainer: {}\n\
         Installed-Size: {kib}\n\
         Depends: {}\n\
         Section: net\n\
         Priority: optional\n\
         Description: FTP server whose data ports exist only while negotiated\n \
         XDP drops every packet to the passive range that no session has asked for; no range of\n \
         ports is open to the world. pinhole guard gives the same to an FTP server that is already\n \
         there (vsftpd, Pure-FTPd, ProFTPD). Needs Linux 5.18.\n",
        maintainer(),
        depends(package),
    )
}

/// Whoever builds it, as Debian's own tools are told.
fn maintainer() -> String {
    let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let name = set("DEBFULLNAME").unwrap_or_else(|| "Built from source".to_owned());
    let address = set("DEBEMAIL").unwrap_or_else(|| "root@localhost".to_owned());
    format!("{name} <{address}>")
}

/// What the program is linked with.
fn depends(package: &Package<'_>) -> String {
    let libc = match newest_glibc(package.binary) {
        Some((major, minor)) => format!("libc6 (>= {major}.{minor})"),
        None => "libc6".to_owned(),
    };
    let pam = match package.pam {
        true => ", libpam0g",
        false => "",
    };
    format!("{libc}, libgcc-s1{pam}")
}

/// The newest version of glibc that a program names among its symbols' versions (`GLIBC_2.34`): an
/// older one cannot start it.
fn newest_glibc(binary: &[u8]) -> Option<(u32, u32)> {
    const PREFIX: &[u8] = b"GLIBC_";
    binary
        .windows(PREFIX.len())
        .enumerate()
        .filter(|(_, window)| *window == PREFIX)
        .filter_map(|(at, _)| {
            let rest = binary.get(at + PREFIX.len()..)?;
            let end = rest.iter().position(|byte| *byte == 0)?;
            let mut numbers = std::str::from_utf8(rest.get(..end)?).ok()?.split('.');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        })
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_that_is_named_counts() {
        let binary = b"\x7fELF\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.2.5\0GLIBC_PRIVATE\0GLIBC_2.99";
        assert_eq!(newest_glibc(binary), Some((2, 34)));
        assert_eq!(newest_glibc(b"static"), None);
    }
}
