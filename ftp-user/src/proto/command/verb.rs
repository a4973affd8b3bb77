//! The table of verbs: what each is called, how it is used, and the RFC where it is not 959.

/// Of a verb: XSHA256.
const LONGEST_NAME: usize = 7;

/// Declares [`Verb`] and the table behind it from one list.
macro_rules! verbs {
    ($($verb:ident $name:literal $(| $alias:literal)? $usage:literal;)*) => {
        /// The verbs that we serve.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "named after the verbs, which `Verb::usage` explains")]
        pub enum Verb { $($verb),* }

        impl Verb {
            /// Every verb, in the order in which HELP shows them.
            pub const ALL: &[Verb] = &[$(Verb::$verb),*];

            /// Its name on the wire.
            pub fn name(self) -> &'static str {
                match self { $(Verb::$verb => $name),* }
            }

            /// How it is used, one line.
            pub fn usage(self) -> &'static str {
                match self { $(Verb::$verb => concat!($name, $usage)),* }
            }

            /// Finds a verb by its name or obsolete alias (RFC 1123 §4.1.3.1), in any case.
            pub fn parse(name: &[u8]) -> Option<Verb> {
                let mut upper = [0u8; LONGEST_NAME];
                let upper = upper.get_mut(..name.len())?;
                upper.copy_from_slice(name);
                upper.make_ascii_uppercase();
                let name = std::str::from_utf8(upper).ok()?;
                match name { $($name $(| $alias)? => Some(Verb::$verb),)* _ => None }
            }
        }
    };
}

verbs! {
    Host "HOST" " <name>: the name that you know this server by (RFC 7151)";
    User "USER" " <name>";
    Pass "PASS" " <password>";
    Acct "ACCT" " <account>: not needed";
    Auth "AUTH" " TLS: protect the control connection (RFC 4217)";
    Pbsz "PBSZ" " 0, before PROT (RFC 4217)";
    Prot "PROT" " C | P: data connections clear or inside TLS (RFC 4217)";
    Ccc  "CCC"  ": back to a clear control connection (RFC 4217)";
    Quit "QUIT" ": end the session";
    Rein "REIN" ": log out, keep the connection";
    Syst "SYST" ": name the system";
    Feat "FEAT" ": list extensions (RFC 2389)";
    Opts "OPTS" " UTF8 ON | MLST <fact>;<fact>;... | HASH <algorithm> | MODE Z LEVEL <0 to 9> (RFC 2389)";
    Help "HELP" " [<command>]";
    Clnt "CLNT" " <program>: say what you are";
    Noop "NOOP" ": do nothing";
    Pwd  "PWD" | "XPWD" ": name the working directory";
    Cwd  "CWD" | "XCWD" " <directory>";
    Cdup "CDUP" | "XCUP" ": go to the parent directory";
    Type "TYPE" " A | I | L 8";
    Mode "MODE" " S | Z";
    Stru "STRU" " F";
    Pasv "PASV" ": name a port for the data connection";
    Epsv "EPSV" " [1 | 2 | ALL] (RFC 2428)";
    Port "PORT" " <h1,h2,h3,h4,p1,p2>: your own address, port 1024 or above";
    Eprt "EPRT" " |<1 or 2>|<address>|<port>| (RFC 2428)";
    List "LIST" " [-aAlrRtS1d] [<path or pattern>]";
    Nlst "NLST" " [-aAlrRtS1d] [<path or pattern>]";
    Mlsd "MLSD" " [<directory>] (RFC 3659)";
    Mlst "MLST" " [<path>] (RFC 3659)";
    Stat "STAT" " [<path>]: session, transfer or listing";
    Retr "RETR" " <file>";
    Stor "STOR" " <file>";
    Appe "APPE" " <file>";
    Stou "STOU" ": store under a new name";
    Rest "REST" " <byte> (RFC 3659)";
    Rang "RANG" " <first byte> <last byte>, before RETR or HASH; RANG 1 0 for all";
    Size "SIZE" " <file>, in TYPE I (RFC 3659)";
    Mdtm "MDTM" " <file> (RFC 3659)";
    Mfmt "MFMT" " <YYYYMMDDhhmmss> <path>: set the time of last modification";
    Hash "HASH" " <file>; OPTS HASH chooses the algorithm";
    Xcrc "XCRC" " <file> [<from> [<to>]]: CRC32";
    Xmd5 "XMD5" " <file> [<from> [<to>]]: MD5";
    Xsha1 "XSHA1" | "XSHA" " <file> [<from> [<to>]]: SHA-1";
    Xsha256 "XSHA256" " <file> [<from> [<to>]]: SHA-256";
    Xsha512 "XSHA512" " <file> [<from> [<to>]]: SHA-512";
    Avbl "AVBL" " [<directory>]: bytes that may be stored there";
    Comb "COMB" " <file> <part> ...: append the parts to the file and remove them";
    Dele "DELE" " <file>";
    Mkd  "MKD" | "XMKD" " <directory>";
    Rmd  "RMD" | "XRMD" " <directory>";
    Rnfr "RNFR" " <path>: rename from";
    Rnto "RNTO" " <path>: rename to";
    Abor "ABOR" ": end the transfer";
    Allo "ALLO" " <bytes>: could they be stored?";
    Site "SITE" " CHMOD | UTIME | SYMLINK | QUOTA | HELP";
}

impl Verb {
    /// Whether there are names of files in its argument, which may be any bytes.
    pub(in crate::proto) fn takes_names(self) -> bool {
        match self {
            Verb::Cwd
            | Verb::List
            | Verb::Nlst
            | Verb::Mlsd
            | Verb::Mlst
            | Verb::Stat
            | Verb::Retr
            | Verb::Stor
            | Verb::Appe
            | Verb::Stou
            | Verb::Size
            | Verb::Mdtm
            | Verb::Mfmt
            | Verb::Hash
            | Verb::Xcrc
            | Verb::Xmd5
            | Verb::Xsha1
            | Verb::Xsha256
            | Verb::Xsha512
            | Verb::Avbl
            | Verb::Comb
            | Verb::Dele
            | Verb::Mkd
            | Verb::Rmd
            | Verb::Rnfr
            | Verb::Rnto
            | Verb::Site => true,
            Verb::Host
            | Verb::User
            | Verb::Pass
            | Verb::Acct
            | Verb::Auth
            | Verb::Pbsz
            | Verb::Prot
            | Verb::Ccc
            | Verb::Quit
            | Verb::Rein
            | Verb::Syst
            | Verb::Feat
            | Verb::Opts
            | Verb::Help
            | Verb::Clnt
            | Verb::Noop
            | Verb::Pwd
            | Verb::Cdup
            | Verb::Type
            | Verb::Mode
            | Verb::Stru
            | Verb::Pasv
            | Verb::Epsv
            | Verb::Port
            | Verb::Eprt
            | Verb::Rest
            | Verb::Rang
            | Verb::Abor
            | Verb::Allo => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_case() {
        assert_eq!(Verb::parse(b"ReTr"), Some(Verb::Retr));
        assert_eq!(Verb::parse(b"xcup"), Some(Verb::Cdup));
        assert_eq!(Verb::parse(b"xsha512"), Some(Verb::Xsha512));
        assert_eq!(Verb::parse(b"XSHA5123"), None);
        assert_eq!(Verb::parse(b"RETRX"), None);
        assert_eq!(Verb::parse(b"R\xc3\xa9T"), None);
        assert_eq!(Verb::parse(b""), None);
        for &verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.name().as_bytes()), Some(verb));
        }
    }
}
