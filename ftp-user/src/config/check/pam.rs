//! Checks `[pam]`.

use super::super::file::Pam as FilePam;
use super::super::pam::check_service;
use super::{super::Pam, Check, set};

impl Check<'_> {
    pub(super) fn pam(&mut self, file: FilePam) -> Pam {
        let mut pam = Pam::default();
        self.text(file.service, &mut pam.service, |name| {
            check_service(name).map(|()| name.to_owned())
        });
        // The highest means "no change" to the kernel.
        let users = 1..=i64::from(u32::MAX) - 1;
        self.number(file.min_uid, &mut pam.min_uid, users, "the least uid");
        set(file.rights, &mut pam.rights);
        pam
    }
}
