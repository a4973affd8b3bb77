//! Certificates that end while the server runs: told of once a day.

use crate::generation::Newest;
use std::time::Duration;
use time::OffsetDateTime;

const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Warns of certificates of the newest generation that have expired or soon will, for as long as the
/// server runs. What was so at the start and at a reload has been said then.
pub(super) async fn remind(newest: Newest) {
    remind_by(newest, |doubt| {
        tracing::warn!("{doubt}; reload (SIGHUP) once a new one is in its place");
    })
    .await;
}

async fn remind_by(newest: Newest, say: impl Fn(String)) {
    loop {
        tokio::time::sleep(EVERY).await;
        if let Some(tls) = &newest.get().tls {
            tls.untimely(OffsetDateTime::now_utc())
                .into_iter()
                .for_each(&say);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Anonymous, Config};
    use crate::generation::{Generation, Generations};
    use crate::tls::testing;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn a_certificate_is_told_of_every_day_until_another_is_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let tls = testing::settings(folder.path());
        let config = Config {
            anonymous: Some(Anonymous::new(folder.path())),
            tls: Some(tls.clone()),
            ..Config::default()
        };
        let now = OffsetDateTime::now_utc();
        let until = now + time::Duration::days(3);
        testing::write_dated(&tls, now - time::Duration::DAY, until);
        let generations = Generations::new(Generation::load(config.clone()).unwrap());
        let (say, mut said) = mpsc::unbounded_channel();
        let reminding = remind_by(generations.follow(), move |doubt| say.send(doubt).unwrap());
        let reminding = tokio::spawn(reminding);

        let wanted = format!("{}: expires on {}", tls.certificate.display(), until.date());
        for _ in 0..2 {
            let before = Instant::now();
            let doubt = said.recv().await.unwrap();
            assert!(doubt.contains(&wanted), "{doubt}");
            let passed = before.elapsed();
            assert_eq!(passed.as_secs(), EVERY.as_secs(), "{passed:?}");
        }
        testing::settings(folder.path());
        generations.replace(config).unwrap();
        let more = timeout(EVERY * 5 / 2, said.recv()).await;
        assert!(more.is_err(), "{more:?}");
        reminding.abort();
    }
}
