//! Guesses one after the other, all at once, and from elsewhere, in paused time.

use super::*;

use futures_util::future::join_all;
use tokio::time::{advance, sleep, timeout};

/// What it takes to look at a password.
const LOOK: Duration = Duration::from_millis(20);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What a password had to wait before it was looked at.
async fn guess(
    failures: &Failures,
    client: &str,
    name: &str,
    right: bool,
) -> Result<Duration, TooManyFailures> {
    let start = Instant::now();
    let attempt = failures.attempt(ip(client), name.as_bytes()).await?;
    let waited = start.elapsed();
    sleep(LOOK).await;
    match right {
        true => attempt.succeeded(),
        false => drop(attempt),
    }
    Ok(waited)
}

/// Timers count whole milliseconds.
fn assert_waited(waited: Result<Duration, TooManyFailures>, millis: u128) {
    let waited = waited.unwrap().as_millis();
    assert!(
        (millis..millis + 5).contains(&waited),
        "{waited} ms, not {millis}"
    );
}

#[tokio::test(start_paused = true)]
async fn waits_grow_with_failures_and_end() {
    let failures = Failures::default();
    for expected in [0, 500, 1000, 2000, 4000, 4000] {
        assert_waited(guess(&failures, "192.0.2.1", "a", false).await, expected);
    }
    assert_waited(guess(&failures, "192.0.2.2", "a", true).await, 0);
    advance(MEMORY * 2).await;
    assert_waited(guess(&failures, "192.0.2.1", "a", true).await, 0);
    assert!(failures.lock().failed.is_empty());
    assert!(failures.lock().under_way.is_empty());
}

#[tokio::test(start_paused = true)]
async fn guesses_that_come_at_once_are_no_more_than_a_few() {
    let failures = Failures::default();
    let guesses = |count: usize| {
        join_all((0..count).map(|n| {
            let (failures, client) = (&failures, format!("2001:db8::{n:x}"));
            async move { guess(failures, &client, "victim", false).await }
        }))
    };
    let start = Instant::now();
    let first = guesses(1000).await;
    // Those under way when the first failed, and what the growing waits let through after that.
    let looked_at = first.iter().filter(|guess| guess.is_ok()).count();
    assert!(
        (AT_ONCE..2 * AT_ONCE).contains(&looked_at),
        "{looked_at} looked at"
    );
    let took = start.elapsed();
    assert!(took < 2 * LONGEST_DELAY, "{took:?}");
    // Another /64 has nothing to do with it.
    assert_waited(guess(&failures, "2001:db8:0:1::1", "victim", true).await, 0);
    // One place is left within the longest wait.
    let then = guesses(100)
        .await
        .iter()
        .filter(|guess| guess.is_ok())
        .count();
    assert!(then <= 2, "{then} looked at");
    assert!(failures.lock().under_way.is_empty());
}

#[tokio::test(start_paused = true)]
async fn right_passwords_do_not_wait_for_each_other() {
    const CLIENTS: u32 = 64;
    let failures = Failures::default();
    let all_right = || {
        let names = (0..CLIENTS).map(|n| format!("user{}", n % 3));
        join_all(names.map(|name| {
            let failures = &failures;
            async move { guess(failures, "192.0.2.1", &name, true).await.unwrap() }
        }))
    };
    let start = Instant::now();
    all_right().await;
    let took = start.elapsed();
    let computing = LOOK * CLIENTS.div_ceil(u32::try_from(AT_ONCE).unwrap());
    assert!(took <= computing * 11 / 10, "{took:?}");
    // After a slip, the first right one lets all others through.
    assert_waited(guess(&failures, "192.0.2.1", "user0", false).await, 0);
    let start = Instant::now();
    all_right().await;
    let took = start.elapsed();
    assert!(took <= FIRST_DELAY + computing * 3 / 2, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_right_password_takes_back_what_failed_for_its_name_only() {
    let failures = Failures::default();
    let guess = async |name, right| guess(&failures, "192.0.2.1", name, right).await;
    for _ in 0..3 {
        guess("victim", false).await.unwrap();
    }
    assert_waited(guess("own", false).await, 2000);
    assert_waited(guess("own", true).await, 4000);
    // It waits as before, with the place that the one before had taken.
    assert_waited(guess("victim", false).await, 4000 - LOOK.as_millis());
    assert_waited(guess("victim", true).await, 4000);
    assert_waited(guess("victim", false).await, 0);
}

#[tokio::test(start_paused = true)]
async fn others_guesses_do_not_hold_up_whoever_knows_their_password() {
    let failures = Failures::default();
    let guess = async |name, right| guess(&failures, "192.0.2.1", name, right).await;
    for _ in 0..5 {
        guess("broken script", false).await.unwrap();
    }
    assert_waited(guess("own", true).await, 4000);
    for _ in 0..3 {
        assert_waited(guess("own", true).await, 0);
    }
    // One guess at that, and it waits with the others.
    assert_waited(guess("own", false).await, 0);
    assert_waited(guess("own", true).await, 4000);
    assert_waited(guess("own", true).await, 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_name_mistyped_the_first_right_password_is_all_that_waits() {
    let failures = Failures::default();
    let guess = async |name, right| guess(&failures, "192.0.2.1", name, right).await;
    guess("onw", false).await.unwrap();
    let start = Instant::now();
    let all = join_all((0..AT_ONCE).map(|_| guess("own", true))).await;
    assert!(all.iter().all(Result::is_ok));
    let took = start.elapsed();
    assert!(took < FIRST_DELAY + 3 * LOOK, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn names_beyond_those_that_are_counted_apart_are_never_forgiven() {
    let failures = Failures::default();
    let now = Instant::now();
    let network = ip("192.0.2.1");
    let many = u64::try_from(NAMES).unwrap() + 3;
    for name in 0..many {
        failures.failed(network, name, now);
    }
    let count = || failures.lock().failed[&network].failures();
    assert_eq!(u64::from(count()), many);
    failures.succeeded(network, many - 1);
    assert_eq!(u64::from(count()), many);
    for name in 0..many {
        failures.succeeded(network, name);
    }
    assert_eq!(count(), 3);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_while_it_waits_has_not_failed() {
    let failures = Failures::default();
    guess(&failures, "192.0.2.1", "a", false).await.unwrap();
    let waiting = guess(&failures, "192.0.2.1", "a", false);
    assert!(timeout(LOOK, waiting).await.is_err());
    assert_eq!(failures.lock().failed[&ip("192.0.2.1")].failures(), 1);
    assert!(failures.lock().under_way.is_empty());
}

#[test]
fn another_process_takes_the_memory_over() {
    let (old, new) = (Failures::default(), Failures::default());
    let (client, other) = (ip("2001:db8::"), ip("192.0.2.1"));
    let now = Instant::now();
    for name in [1, 1, 2] {
        old.failed(client, name, now);
    }
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    old.tell(&sender);
    let mut pass_on = || match told.try_recv() {
        Ok(Told::Failed(failed)) => new.remember_at(&failed, now),
        other => panic!("{other:?}"),
    };
    pass_on();
    let wait = new.turn(client, 1, now).unwrap();
    assert!(wait > Duration::from_millis(1900), "2 s after three");
    // What fails in the old one later counts in the new one.
    old.failed(other, 1, now);
    pass_on();
    assert_eq!(new.turn(other, 1, now), Ok(FIRST_DELAY));
    new.failed(client, 1, now);
    let count = || new.lock().failed[&client].failures();
    assert_eq!(count(), 4);
    // By name, too.
    new.succeeded(client, 1);
    assert_eq!(count(), 1);
    // An older version tells how many, and not whose.
    let older = r#"{"network":"2001:db8::","failures":5,"wait":{"secs":0,"nanos":0}}"#;
    new.remember_at(&serde_json::from_str(older).unwrap(), now);
    new.succeeded(client, 2);
    assert_eq!(count(), 5);
}

#[test]
fn memory_is_bounded_and_the_oldest_go_first() {
    let failures = Failures::default();
    let start = Instant::now();
    for n in 0..=u32::try_from(MOST).unwrap() {
        let client = IpAddr::V4(n.into());
        failures.failed(client, 1, start + Duration::from_millis(n.into()));
    }
    let known = &failures.lock().failed;
    assert_eq!(known.len(), MOST);
    assert!(!known.contains_key(&ip("0.0.0.0")) && known.contains_key(&ip("0.0.0.1")));
}
