//! The `[enforce]` section.

use std::num::NonZeroU32;

use toml::Spanned;

use super::{
    super::{Enforce, Interfaces, file},
    Check, set,
};

impl Check<'_> {
    pub(super) fn enforce(&mut self, given: file::Enforce) -> Enforce {
        let mut enforce = Enforce::default();
        set(given.enabled, &mut enforce.enabled);
        set(given.attach, &mut enforce.attach);
        set(given.stray, &mut enforce.stray);
        if let Some(interfaces) = given.interfaces {
            self.interfaces(&interfaces);
            enforce.interfaces = interfaces.into_inner();
        }
        let mut mark = 0u32;
        let what = "a firewall mark";
        self.number(given.mark, &mut mark, 1..=u32::MAX.into(), what);
        enforce.mark = NonZeroU32::new(mark);
        let (v4, v6) = (&mut enforce.client_prefix_v4, &mut enforce.client_prefix_v6);
        self.number(given.client_prefix_v4, v4, 1..=32, "an IPv4 prefix length");
        self.number(given.client_prefix_v6, v6, 1..=128, "an IPv6 prefix length");
        let (rows, what) = (&mut enforce.max_pinholes, "the number of rows");
        self.number(given.max_pinholes, rows, 1..=1 << 24, what);
        enforce
    }

    pub(super) fn interfaces(&mut self, given: &Spanned<Interfaces>) {
        let Interfaces::Named(names) = given.get_ref() else {
            return;
        };
        for (index, name) in names.iter().enumerate() {
            if name == "auto" {
                let right = "\"auto\" stands alone: write interfaces = \"auto\"";
                self.problem(given.span(), right);
            }
            // dev_valid_name() in the kernel's net/core/dev.c.
            let valid = (1..=15).contains(&name.len())
                && !matches!(name.as_str(), "." | "..")
                && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
            if !valid {
                self.problem(
                    given.span(),
                    format!("\"{name}\" cannot be an interface's name"),
                );
            }
            if names.iter().take(index).any(|earlier| earlier == name) {
                self.problem(given.span(), format!("\"{name}\" is named twice"));
            }
        }
    }
}
