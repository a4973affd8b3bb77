//! When a session ends by itself: in paused time, over a pipe in memory that holds no more than it is
//! given, so that every moment is exact.

use crate::config::{Anonymous, Config};
use crate::generation::{Generation, Generations};
use crate::pinholes::Pinholes;
use crate::session::{self, Activity, Ends, Shared, Start, Stop, Way};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

const LOGIN: Duration = Duration::from_secs(10);

/// A session's client. The rest is there for as long as the session lasts.
struct Client {
    control: BufReader<DuplexStream>,
    began: Instant,
    _server: (tempfile::TempDir, Generations, watch::Sender<Stop>),
}

impl Client {
    /// Each way holds so many bytes.
    async fn begin(holds: usize) -> Client {
        let files = tempfile::tempdir().unwrap();
        let mut config = Config {
            anonymous: Some(Anonymous::new(files.path())),
            ..Config::default()
        };
        config.enforce.enabled = false;
        config.timeouts.login = LOGIN;
        let pinholes = Pinholes::listeners(&config);
        let generations = Generations::new(Generation::load(config).unwrap());
        let (stop, stopping) = watch::channel(Stop::No);
        let shared = Arc::new(Shared {
            newest: generations.follow(),
            activity: Activity::default(),
            failures: Default::default(),
            pinholes,
            stop: stopping,
        });
        let ends = Ends {
            client: "192.0.2.1:1234".parse().unwrap(),
            server: "192.0.2.2:21".parse().unwrap(),
        };
        let way = Way {
            listener: 0,
            start: Start::Clear,
        };
        let (client, server) = tokio::io::duplex(holds);
        let began = Instant::now();
        tokio::spawn(session::run(server, 1, ends, way, shared));
        let mut client = Client {
            control: BufReader::new(client),
            began,
            _server: (files, generations, stop),
        };
        client.expect_reply(220).await;
        client
    }

    async fn send(&mut self, line: &str) {
        self.control.write_all(line.as_bytes()).await.unwrap();
        self.control.write_all(b"\r\n").await.unwrap();
    }

    async fn reply(&mut self) -> u16 {
        let mut line = String::new();
        self.control.read_line(&mut line).await.unwrap();
        line[..3].parse().unwrap()
    }

    async fn expect_reply(&mut self, code: u16) {
        assert_eq!(self.reply().await, code, "{:?}", self.began.elapsed());
    }

    async fn expect(&mut self, line: &str, code: u16) {
        self.send(line).await;
        self.expect_reply(code).await;
    }

    async fn log_in(&mut self) {
        self.expect("USER ftp", 331).await;
        self.expect("PASS me", 230).await;
    }

    /// The session ends here and now.
    async fn expect_end_at(&mut self, since_begin: Duration) {
        self.expect_reply(421).await;
        let end = self.began.elapsed();
        let late = end.checked_sub(since_begin);
        // tokio's timers count milliseconds.
        assert!(
            late.is_some_and(|late| late < Duration::from_millis(5)),
            "{end:?}, not {since_begin:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn before_a_login_no_command_puts_its_end_off() {
    for commands in [["NOOP", "NOOP"], ["REIN", "REIN"], ["USER ftp", "REIN"]] {
        let mut client = Client::begin(4096).await;
        for command in commands {
            sleep(LOGIN * 2 / 5).await;
            client.send(command).await;
            assert_ne!(client.reply().await, 421);
        }
        client.expect_end_at(LOGIN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_always_has_another_line_ready_gets_no_more_time() {
    let mut client = Client::begin(64).await;
    for _ in 0..8 {
        client.send("NOOP").await;
    }
    // It cannot send the replies, which do not fit, and has read the rest by then.
    sleep(2 * LOGIN).await;
    let mut answered = 0;
    while client.reply().await == 200 {
        answered += 1;
    }
    assert!((1..8).contains(&answered), "{answered}");
}

#[tokio::test(start_paused = true)]
async fn who_was_logged_in_has_the_whole_time_for_another_login() {
    for (again, code) in [("USER ftp", 331), ("REIN", 220)] {
        let mut client = Client::begin(4096).await;
        client.log_in().await;
        sleep(3 * LOGIN).await;
        client.expect(again, code).await;
        sleep(LOGIN / 2).await;
        client.log_in().await;
        sleep(3 * LOGIN).await;
        client.expect(again, code).await;
        client.expect_end_at(7 * LOGIN + LOGIN / 2).await;
    }
}
