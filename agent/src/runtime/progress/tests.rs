//! Streaks, their waits and their lines, in held time.

use super::*;

fn progress() -> (Progress, watch::Receiver<LinkStatus>) {
    let (status, seen) = watch::channel(LinkStatus::default());
    (Progress::new(status, Clock::system(), Box::new(|| 0.0), Ids::default()), seen)
}

fn binding() -> Binding {
    Binding { agent_id: "a".into(), project_id: "p".into(), session_id: "s".into() }
}

#[tokio::test(start_paused = true)]
async fn the_log_names_the_session_while_there_is_one() {
    let (mut progress, _seen) = progress();
    let ids = progress.ids.clone();
    progress.online("websocket", None, &binding());
    let names =
        |ids: &Ids| ids.get().into_iter().map(|(name, id)| format!("{name}={id}")).collect::<Vec<_>>();
    assert_eq!(names(&ids), ["agent_id=a", "project_id=p", "session_id=s"]);
    progress.failed(&failure(), None);
    assert_eq!(names(&ids), ["agent_id=a", "project_id=p"]);
}

fn failure() -> Failure {
    Failure::uncoded(FailureClass::Connection, "gone")
}

#[tokio::test(start_paused = true)]
async fn a_handshake_alone_does_not_end_a_streak() {
    let (mut progress, seen) = progress();
    for seconds in [1, 2, 4, 8] {
        progress.online("websocket", None, &binding());
        assert_eq!(progress.failed(&failure(), None), Some(Duration::from_secs(seconds)));
    }
    assert_eq!(seen.borrow().streaks.connection, 4);
    progress.online("websocket", None, &binding());
    progress.proved();
    assert_eq!(seen.borrow().streaks.connection, 0);
    assert_eq!(progress.failed(&failure(), None), Some(Duration::from_secs(1)));
    let status = seen.borrow();
    assert_eq!((status.state, status.session_id.as_deref()), (LinkState::BackingOff, None));
    assert_eq!(status.last_failure.as_ref().map(|last| last.text.as_str()), Some("gone"));
}

#[tokio::test(start_paused = true)]
async fn a_log_that_said_online_says_once_that_it_is_over() {
    let (mut progress, _seen) = progress();
    let mut told = Vec::new();
    for _ in 0..4 {
        progress.online("websocket", None, &binding());
        told.push(progress.last_told_online);
        progress.failed(&failure(), None);
        assert!(!progress.last_told_online);
    }
    assert_eq!(told, [true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_reconnect_by_order_is_told_of() {
    let (mut progress, _seen) = progress();
    progress.online("websocket", None, &binding());
    progress.ordered();
    progress.last_told_online = false;
    progress.online("websocket", None, &binding());
    assert!(progress.last_told_online);
}

#[tokio::test(start_paused = true)]
async fn age_is_a_proof() {
    let (mut progress, _seen) = progress();
    progress.online("websocket", None, &binding());
    assert_eq!(progress.proof_due(), Some(Instant::now() + PROOF_AGE));
    progress.proved();
    assert_eq!(progress.proof_due(), None);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_the_brain_asks_for_is_kept() {
    let (mut progress, _seen) = progress();
    let asked = Failure { retry_after: Some(Duration::from_secs(9)), ..failure() };
    assert_eq!(progress.failed(&asked, None), Some(Duration::from_secs(9)));
}

#[tokio::test(start_paused = true)]
async fn each_code_of_a_streak_is_told_once() {
    let (mut progress, _seen) = progress();
    let of = |code| {
        let diagnosis = crate::doctor::diagnosis::Diagnosis { code, ..failure().diagnosis };
        Failure::connection(diagnosis)
    };
    for (code, told) in [(None, 0), (Some("tcp.refused"), 1), (Some("tcp.refused"), 1), (Some("ws.path"), 2)]
    {
        progress.failed(&of(code), None);
        assert_eq!(progress.told_codes.len(), told);
    }
    progress.online("websocket", None, &binding());
    progress.proved();
    progress.failed(&of(Some("ws.path")), None);
    assert_eq!(progress.told_codes, ["ws.path"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_starts_small_and_has_no_attempt_behind_its_end() {
    let (mut progress, seen) = progress();
    for _ in 0..9 {
        progress.failed(&failure(), None);
    }
    let latest = Some(Instant::now() + Duration::from_secs(5));
    for seconds in [1, 2, 4] {
        assert_eq!(progress.failed(&failure(), latest), Some(Duration::from_secs(seconds)));
        assert_eq!(seen.borrow().state, LinkState::Stopping);
    }
    assert_eq!(progress.failed(&failure(), latest), Some(Duration::from_secs(4)), "a last one");
    let asked = Failure { retry_after: Some(Duration::from_secs(6)), ..failure() };
    assert_eq!(progress.failed(&asked, latest), None);
    assert_eq!(progress.failed(&failure(), Some(Instant::now())), None);
    let refused = Failure::uncoded(FailureClass::Auth, "no");
    let far = Some(Instant::now() + Duration::from_secs(600));
    assert_eq!(progress.failed(&refused, far), None);
    assert_eq!(seen.borrow().next_attempt_at, None);
}
