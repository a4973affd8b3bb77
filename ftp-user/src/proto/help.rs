//! What HELP (RFC 959), FEAT (RFC 2389) and SITE HELP answer.

use super::command::Verb;
use super::reply::{Code, Reply};

/// All verbs, or one verb's usage.
pub fn help(verb: Option<Verb>) -> Reply {
    if let Some(verb) = verb {
        return Reply::new(Code::Help, verb.usage());
    }
    let mut reply = Reply::new(Code::Help, "HELP <command> says more.")
        .with_line(&b"The following commands are served:"[..]);
    for row in Verb::ALL.chunks(8) {
        let row: String = row
            .iter()
            .map(|verb| format!(" {:<4}", verb.name()))
            .collect();
        reply = reply.with_line(row.trim_end().as_bytes().to_vec());
    }
    reply
}

/// The extensions served. `mlst_facts` is the fact list with `*` behind those switched on
/// (RFC 3659 §7.8); `tls` are the words of RFC 4217 §6 that hold here and now.
pub fn features(mlst_facts: &str, tls: &[&str]) -> Reply {
    let mut reply = Reply::new(Code::SystemStatus, "End").with_line(&b"Extensions supported:"[..]);
    for feature in tls.iter().chain(&["EPRT", "EPSV", "MDTM"]) {
        reply = reply.with_line(format!(" {feature}").into_bytes());
    }
    reply = reply.with_line(format!(" MLST {mlst_facts}").into_bytes());
    for feature in ["REST STREAM", "SIZE", "TVFS", "UTF8"] {
        reply = reply.with_line(format!(" {feature}").into_bytes());
    }
    reply
}

/// The SITE commands served.
pub fn site_help() -> Reply {
    Reply::new(Code::Help, "End")
        .with_line(&b"SITE commands:"[..])
        .with_line(&b" HELP"[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn features_stand_one_to_a_line_behind_one_space() {
        let text = text(&features("type*;size*;", &["AUTH TLS", "PBSZ"]));
        assert!(
            text.starts_with(
                "211-Extensions supported:\r\n AUTH TLS\r\n PBSZ\r\n EPRT\r\n EPSV\r\n"
            )
        );
        assert!(text.contains("\r\n MLST type*;size*;\r\n REST STREAM\r\n"));
        assert!(text.ends_with("\r\n211 End\r\n"));
    }

    #[test]
    fn help_names_every_verb() {
        let text = text(&help(None));
        for verb in Verb::ALL {
            assert!(text.contains(verb.name()), "{verb:?}");
        }
    }
}
