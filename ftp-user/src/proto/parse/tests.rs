//! Lines of every family: what is served, and the code of what is not.

use super::*;
use crate::proto::command::{Mechanism, Mode, Opts, Protection, TypeCode};
use proptest::prelude::*;

fn code(line: &str) -> u16 {
    parse(line.as_bytes()).expect_err(line).code() as u16
}

#[test]
fn verbs_in_any_case_and_paths_byte_for_byte() {
    assert_eq!(parse(b"retr a b"), Ok(Command::Retr(b"a b".to_vec())));
    assert_eq!(parse(b"RETR  a "), Ok(Command::Retr(b" a ".to_vec())));
    assert_eq!(
        parse(b"XMKD \xff\xfe"),
        Ok(Command::Mkd(b"\xff\xfe".to_vec()))
    );
    assert_eq!(parse(b"QUIT "), Ok(Command::Quit));
    assert_eq!(parse(b"NLST"), Ok(Command::Nlst(ListRequest::default())));
    assert_eq!(parse(b"STAT"), Ok(Command::Stat));
    assert!(matches!(parse(b"STAT -l"), Ok(Command::StatPath(_))));
}

#[test]
fn arguments_that_are_served() {
    for (line, command) in [
        ("TYPE a n", Command::Type(TypeCode::Ascii)),
        ("TYPE l8", Command::Type(TypeCode::Image)),
        ("TYPE L 8", Command::Type(TypeCode::Image)),
        ("MODE s", Command::Mode(Mode::Stream)),
        ("MODE Z", Command::Mode(Mode::Deflate)),
        ("OPTS mode z level 9", Command::Opts(Opts::DeflateLevel(9))),
        (
            "HOST [2001:db8::1]",
            Command::Host(b"[2001:db8::1]".to_vec()),
        ),
        (
            "HOST ftp.example.com",
            Command::Host(b"ftp.example.com".to_vec()),
        ),
        ("CLNT curl 8", Command::Clnt(b"curl 8".to_vec())),
        ("AVBL", Command::Avbl(None)),
        (
            "COMB \"a b\" c d",
            Command::Comb(b"a b".to_vec(), vec![b"c".to_vec(), b"d".to_vec()]),
        ),
        (
            "MFMT 19700101000010 a b",
            Command::Mfmt(
                std::time::UNIX_EPOCH + std::time::Duration::from_secs(10),
                b"a b".to_vec(),
            ),
        ),
        ("STRU F", Command::Stru),
        ("EPSV", Command::Epsv(EpsvArgument::Any)),
        ("EPSV all", Command::Epsv(EpsvArgument::All)),
        ("EPSV 2", Command::Epsv(EpsvArgument::Family(Family::V6))),
        ("REST 9223372036854775807", Command::Rest(i64::MAX as u64)),
        ("ALLO 5 R 10", Command::Allo(5)),
        ("AUTH tls", Command::Auth(Mechanism::Tls)),
        ("AUTH TLS-C", Command::Auth(Mechanism::Tls)),
        ("PBSZ 0", Command::Pbsz),
        ("PBSZ 4294967295", Command::Pbsz),
        ("PROT p", Command::Prot(Protection::Private)),
        ("PROT E", Command::Prot(Protection::NotByTls)),
        ("OPTS utf8 on", Command::Opts(Opts::Utf8)),
        (
            "OPTS MLST Size;Type;",
            Command::Opts(Opts::Mlst(b"Size;Type;".to_vec())),
        ),
        ("HELP retr", Command::Help(Some(Verb::Retr))),
        (
            "SITE help",
            Command::Site(crate::proto::command::Site::Help),
        ),
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
    }
}

#[test]
fn each_bad_argument_has_its_code() {
    for (line, expected) in [
        ("", 500),
        ("WHAT", 500),
        ("RETRIEVE x", 500),
        ("SITE FROB", 500),
        ("AUTH", 501),
        ("AUTH SSL", 504),
        ("AUTH TLS-P", 504),
        ("AUTH GSSAPI", 504),
        ("PBSZ -1", 501),
        ("PBSZ 4294967296", 501),
        ("PROT", 501),
        ("PROT X", 504),
        ("CCC x", 501),
        ("SMNT /", 502),
        ("RETR", 501),
        ("RETR ", 501),
        ("PASV x", 501),
        ("REST -1", 501),
        ("REST +1", 501),
        ("REST 0x10", 501),
        ("REST 9223372036854775808", 501),
        ("REST 99999999999999999999999", 501),
        ("ALLO many", 501),
        ("ALLO 5 R", 501),
        ("TYPE", 501),
        ("TYPE X", 501),
        ("TYPE E", 504),
        ("TYPE A T", 504),
        ("TYPE L 36", 504),
        ("MODE B", 504),
        ("OPTS MODE Z LEVEL 10", 501),
        ("OPTS MODE Z", 501),
        ("HOST a:21", 501),
        ("HOST", 501),
        ("CLNT", 501),
        ("COMB a", 501),
        ("COMB a \"\"", 501),
        ("MFMT 19700101000010", 501),
        ("MFMT yesterday a", 501),
        ("HASH", 501),
        ("MODE Q", 501),
        ("STRU R", 504),
        ("STRU", 501),
        ("EPSV 3", 522),
        ("EPSV x", 501),
        ("EPRT |9|::1|2000|", 522),
        ("EPRT |1|::1|2000|", 501),
        ("PORT 1,2,3,4,5,256", 501),
        ("PORT 1,2,3,4,5", 501),
        ("OPTS UTF8 OFF", 504),
        ("OPTS FROB", 501),
        ("HELP FROB", 501),
    ] {
        assert_eq!(code(line), expected, "{line}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered(line in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = parse(&line);
    }

    #[test]
    fn any_argument_of_any_verb_is_answered(
        verb in proptest::sample::select(Verb::ALL),
        argument in proptest::collection::vec(
            prop_oneof![any::<u8>(), Just(b' '), Just(b'|'), Just(b','), b'0'..=b'9'], 0..40),
    ) {
        let mut line = verb.name().as_bytes().to_vec();
        line.push(b' ');
        line.extend(argument);
        if let Err(error) = parse(&line) {
            prop_assert!((500..=522).contains(&(error.code() as u16)));
        }
    }
}
