//! What HELP (RFC 959), FEAT (RFC 2389) and SITE HELP answer.

use super::command::{Algorithm, Verb};
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
            .map(|verb| format!(" {:<7}", verb.name()))
            .collect();
        reply = reply.with_line(row.trim_end().as_bytes().to_vec());
    }
    reply
}

/// The extensions served. `mlst_facts` is the fact list with `*` behind those switched on
/// (RFC 3659 §7.8); `hash` is what HASH computes; `tls` are the words of RFC 4217 §6 that hold here
/// and now; `active` is whether there is active mode: what is listed is supported (RFC 2389 §3.2).
pub fn features(mlst_facts: &str, hash: Algorithm, tls: &[&str], active: bool) -> Reply {
    let mut features: Vec<String> = tls.iter().map(|&feature| feature.to_owned()).collect();
    let plain = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    features.extend(plain(&["AVBL", "CLNT", "COMB"]));
    features.extend(active.then(|| "EPRT".to_owned()));
    features.push("EPSV".to_owned());
    features.push(format!("HASH {}", algorithms(hash)));
    features.extend(plain(&["HOST", "MDTM", "MFMT"]));
    features.push(format!("MLST {mlst_facts}"));
    features.extend(plain(&["MODE Z", "RANG STREAM", "REST STREAM"]));
    features.extend(SITE.map(|(name, _)| format!("SITE {name}")));
    features.extend(plain(&[
        "SIZE", "TVFS", "UTF8", "XCRC", "XMD5", "XSHA1", "XSHA256", "XSHA512",
    ]));
    features.into_iter().fold(
        Reply::new(Code::SystemStatus, "End").with_line(&b"Extensions supported:"[..]),
        |reply, feature| reply.with_line(format!(" {feature}").into_bytes()),
    )
}

/// draft-bryan-ftpext-hash-02 §3.1: all of them, a `*` behind the one that is chosen.
fn algorithms(chosen: Algorithm) -> String {
    Algorithm::ALL
        .map(|algorithm| {
            let star = if algorithm == chosen { "*" } else { "" };
            format!("{}{star};", algorithm.name())
        })
        .concat()
}

/// SITE's own commands, besides HELP, and how they are used.
const SITE: [(&str, &str); 4] = [
    ("CHMOD", "<octal mode> <path>"),
    ("QUOTA", ""),
    (
        "SYMLINK",
        "<target> <link>: names with blanks in double quotes",
    ),
    (
        "UTIME",
        "<YYYYMMDDhhmmss> <path>, or <path> <accessed> <modified> <created> UTC",
    ),
];

/// The SITE commands served.
pub fn site_help() -> Reply {
    SITE.into_iter().fold(
        Reply::new(Code::Help, "End").with_line(&b"SITE commands:"[..]),
        |reply, (name, usage)| {
            reply.with_line(format!(" {name} {usage}").trim_end().as_bytes().to_vec())
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::list_options::ListRequest;
    use super::*;

    fn text(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn features_stand_one_to_a_line_behind_one_space() {
        let text = text(&features(
            "type*;size*;",
            Algorithm::Sha256,
            &["AUTH TLS", "PBSZ"],
            true,
        ));
        assert!(
            text.starts_with(
                "211-Extensions supported:\r\n AUTH TLS\r\n PBSZ\r\n AVBL\r\n CLNT\r\n"
            )
        );
        assert!(text.contains("\r\n MLST type*;size*;\r\n MODE Z\r\n"));
        assert!(text.contains("\r\n HASH CRC32;MD5;SHA-1;SHA-256*;SHA-512;\r\n"));
        assert!(text.ends_with("\r\n211 End\r\n"));
    }

    #[test]
    fn help_names_the_options_of_listings_that_mean_something() {
        for verb in [Verb::List, Verb::Nlst] {
            let text = text(&help(Some(verb)));
            let (_, options) = text.split_once("[-").unwrap();
            let (options, _) = options.split_once(']').unwrap();
            for letter in ('0'..='9').chain('A'..='Z').chain('a'..='z') {
                let request = ListRequest::parse(format!("-{letter}").as_bytes());
                let means_something = request != ListRequest::default();
                assert_eq!(options.contains(letter), means_something, "{letter}");
            }
        }
    }

    #[test]
    fn help_names_every_verb() {
        let text = text(&help(None));
        for verb in Verb::ALL {
            assert!(text.contains(verb.name()), "{verb:?}");
        }
    }
}
