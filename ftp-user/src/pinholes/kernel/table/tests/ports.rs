//! Which port a pinhole is given, and who waits for one.

use std::sync::mpsc;

use super::*;

#[tokio::test(start_paused = true)]
async fn clients_behind_one_address_take_turns() {
    let (table, _store) = table("40000-40001", PATIENT);
    let first = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let second = table.open(2, CLIENT, SERVER, None).await.unwrap();
    assert_ne!(first.port(), second.port());

    let (order, seen) = mpsc::channel();
    let tasks: Vec<_> = (3..6)
        .map(|session| {
            let (table, order) = (Arc::clone(&table), order.clone());
            tokio::spawn(async move {
                let hole = table.open(session, CLIENT, SERVER, None).await.unwrap();
                order.send(session).unwrap();
                drop(hole);
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(seen.try_recv().is_err(), "no port is free yet");
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [3, 4, 5]);
    drop(second);
    assert!(table.lock().clients.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_holds_every_port_is_told_so_after_a_while() {
    let (table, _store) = table("40000", PATIENT);
    let _held = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let refused = table.open(2, CLIENT, SERVER, None).await;
    assert!(matches!(refused, Err(OpenError::NoPort(_))));
    table.open(3, OTHER, SERVER, None).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn some_ports_are_waited_for_while_others_are_free() {
    let (table, _) = table("30000-30001", PATIENT);
    let some: PortSet = "30000".parse().unwrap();
    let first = table.open(1, CLIENT, SERVER, Some(&some)).await.unwrap();
    assert_eq!(first.port(), 30000);
    let refused = table.open(2, CLIENT, SERVER, Some(&some)).await;
    assert!(matches!(refused, Err(OpenError::NoPort(_))));
    let other = table.open(3, OTHER, SERVER, Some(&some)).await.unwrap();
    assert_eq!(other.port(), 30000);
    let (second, ()) = tokio::join!(table.open(4, CLIENT, SERVER, Some(&some)), async {
        tokio::task::yield_now().await;
        drop(first);
    });
    assert_eq!(second.unwrap().port(), 30000);
}

#[tokio::test]
async fn a_client_on_our_own_address_does_not_get_a_port_that_its_end_might_have() {
    let (table, _) = table("30000,32768-50000", PATIENT);
    let local = table.open(1, SERVER, SERVER, None).await.unwrap();
    assert_eq!(local.port(), 30000);
    // Where there is no other, it has to do.
    let few = "40000".parse().unwrap();
    let local = table.open(1, SERVER, SERVER, Some(&few)).await.unwrap();
    assert_eq!(local.port(), 40000);
}

#[tokio::test]
async fn a_port_that_was_given_up_is_another_pinholes_only_where_there_is_no_other() {
    let (table, _) = table("40000-40001", PATIENT);
    let first = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let port = first.port();
    drop(first);
    for _ in 0..20 {
        let other = table.open(1, CLIENT, SERVER, None).await.unwrap();
        assert_ne!(other.port(), port);
        let tuple = tuple(CLIENT, other.port());
        table.deliver(&tuple, connection()).unwrap();
        drop(other);
    }
    let other = table.open(1, CLIENT, SERVER, None).await.unwrap();
    let none_else = table.open(1, CLIENT, SERVER, None).await.unwrap();
    assert_eq!((other.port() != port, none_else.port()), (true, port));
}
