//! Which call spawned a sub-agent, and which one waits for it.

use super::chain::{Counts, Finished};
use crate::format::{After, Parent, ParentLink};
use crate::import::calls::wait_for;

/// Links sub-agents among `sessions` to the main agent of their session.
///
/// A sub-agent belongs to the Task tool whose result names it; else to the latest one that was asked for before it began and had
/// not answered by then, each tool having one sub-agent.
pub fn link(sessions: &mut [Finished], counts: &mut Counts) {
    // Taken tasks by session and task.
    let mut taken: Vec<Vec<bool>> = sessions
        .iter()
        .map(|session| vec![false; session.tasks.len()])
        .collect();
    for child in 0..sessions.len() {
        if sessions[child].agent.is_empty() {
            continue;
        }
        let Some((parent, task, is_named)) = find(sessions, &taken, child) else {
            counts.orphans += 1;
            continue;
        };
        taken[parent][task] = true;
        counts.by_time += u64::from(!is_named);
        attach(sessions, parent, task, child, counts);
    }
}

/// Parent and task of the sub-agent `child`, and whether its result names it.
fn find(sessions: &[Finished], taken: &[Vec<bool>], child: usize) -> Option<(usize, usize, bool)> {
    let (name, start) = (&sessions[child].agent, sessions[child].start);
    let session = &sessions[child].log_session;
    let parent = sessions
        .iter()
        .position(|other| other.agent.is_empty() && other.log_session == *session)?;
    let tasks = sessions[parent].tasks.iter().enumerate();
    let mut free = tasks.filter(|(index, _)| !taken[parent][*index]);
    let named = free
        .clone()
        .find(|(_, task)| task.agent.as_ref() == Some(name));
    if let Some((index, _)) = named {
        return Some((parent, index, true));
    }
    let running = free.rfind(|(_, task)| {
        task.agent.is_none() && task.emitted <= start && task.done.is_none_or(|done| done >= start)
    });
    running.map(|(index, _)| (parent, index, false))
}

/// Makes `child` the sub-agent of a task, and the call after it wait for the child.
fn attach(
    sessions: &mut [Finished],
    parent: usize,
    task: usize,
    child: usize,
    counts: &mut Counts,
) {
    let task = &sessions[parent].tasks[task];
    let (call, next) = (task.call, task.call + 1);
    let is_joined = !task.is_background
        && task.done.is_some()
        && (next as usize) < sessions[parent].session.calls.len();
    let offset_ms = sessions[child]
        .start
        .since(sessions[parent].ends[call as usize]);
    let last = sessions[child].session.calls.len() as u32 - 1;
    let sid = sessions[child].session.sid.clone();
    sessions[child].session.parent = Some(ParentLink::Call(Parent {
        sid: sessions[parent].session.sid.clone(),
        call,
        offset_ms,
        join: is_joined.then_some(next),
        ..Parent::default()
    }));
    if !is_joined {
        counts.detached += 1;
        return;
    }
    let waiting = &mut sessions[parent].session.calls[next as usize];
    wait_for(waiting, After::Other { sid, call: last });
}
