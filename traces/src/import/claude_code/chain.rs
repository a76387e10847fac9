//! The calls of one agent, pieced together line by line.

use std::collections::HashMap;

use serde_json::Value;

use super::raw::{Message, RawLine};
use crate::format::{Call, Extra, GapKind, Nullable, Observed, Session, Tool};
use crate::import::calls::{Mended, keep_extra, not_empty, tokens, tool_extra};
use crate::import::clock::Instant;
use crate::import::estimate::{chars_in, tokens_of};
use crate::import::tool_class::of_tool;

/// What was met, for the warnings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub mended: Mended,
    pub estimated: u64,
    pub by_time: u64,
    pub orphans: u64,
    pub detached: u64,
    pub empty: u64,
    pub ignored: u64,
}

/// One agent's part of a log.
pub struct Chain {
    session: String,
    agent: String,
    extra: Extra,
    calls: Vec<Answer>,
    /// Call by message id. Looked up only.
    by_message: HashMap<String, usize>,
    /// Call and tool by tool id. Looked up only.
    by_tool: HashMap<String, (usize, usize)>,
    input: Option<Instant>,
    has_tool_result: bool,
    has_user_text: bool,
}

/// A call in the making.
struct Answer {
    call: Call,
    /// Dispatch, as far as the log tells.
    begin: Instant,
    end: Instant,
    /// Whether an input was logged since the call before.
    is_asked: bool,
    uncached: u32,
    written: u32,
    read: u32,
    chars: u64,
    tools: Vec<RunningTool>,
}

/// A tool that an answer asked for.
pub struct RunningTool {
    tool: Tool,
    emitted: Instant,
    /// When its result came.
    pub done: Option<Instant>,
    /// The sub-agent it ran, where the result says so.
    pub agent: Option<String>,
}

/// A session, and when its calls and tools ran.
pub struct Finished {
    pub session: Session,
    /// Session of the log: the parent's for a sub-agent.
    pub log_session: String,
    /// Name of the sub-agent; empty for the main agent.
    pub agent: String,
    pub start: Instant,
    /// End of each call.
    pub ends: Vec<Instant>,
    /// Task tools, with the call that issued each.
    pub tasks: Vec<Task>,
}

/// A tool that runs sub-agents.
pub struct Task {
    pub call: u32,
    pub emitted: Instant,
    pub done: Option<Instant>,
    pub agent: Option<String>,
    pub is_background: bool,
}

impl Chain {
    pub fn new(session: &str, agent: &str, extra: Extra) -> Self {
        Self {
            session: session.to_owned(),
            agent: agent.to_owned(),
            extra,
            calls: Vec::new(),
            by_message: HashMap::new(),
            by_tool: HashMap::new(),
            input: None,
            has_tool_result: false,
            has_user_text: false,
        }
    }

    pub fn is_side(&self) -> bool {
        !self.agent.is_empty()
    }

    /// Takes in a message.
    pub fn line(&mut self, line: RawLine, time: Instant) -> Result<(), String> {
        let is_answer = line.kind.as_ref().is_some_and(|kind| kind == "assistant");
        let agent = line.agent_run().map(str::to_owned);
        let request = line.request.value();
        let Some(message) = line.message.value() else {
            return Ok(());
        };
        if is_answer {
            self.answer(message, request, time)
        } else {
            self.input(message, agent.as_deref(), time);
            Ok(())
        }
    }

    fn input(&mut self, message: Message, agent: Option<&str>, time: Instant) {
        self.input = self.input.max(Some(time));
        let content = message.content.value().unwrap_or_default();
        let blocks = content.as_array().map_or(&[][..], Vec::as_slice);
        let results = blocks
            .iter()
            .filter(|block| kind(block) == Some("tool_result"));
        let mut count = 0;
        for result in results {
            count += 1;
            let id = result.get("tool_use_id").and_then(Value::as_str);
            let Some(&(call, tool)) = id.and_then(|id| self.by_tool.get(id)) else {
                continue;
            };
            let running = &mut self.calls[call].tools[tool];
            running.done = Some(time);
            running.agent = agent.map(str::to_owned);
            running.tool.dur_ms = time.since(running.emitted);
            let is_error = result.get("is_error").and_then(Value::as_bool) == Some(true);
            running.tool.status = Some(if is_error { "error" } else { "ok" }.to_owned());
            let chars = result.get("content").map_or(0, chars_in);
            let x = Extra::from_iter([("result_chars".to_owned(), chars.into())]);
            running.tool.extra = tool_extra(x);
        }
        self.has_tool_result |= count > 0;
        self.has_user_text |= count < blocks.len().max(1);
    }

    fn answer(
        &mut self,
        message: Message,
        request: Option<String>,
        time: Instant,
    ) -> Result<(), String> {
        let id = message.id.value().ok_or("an answer without `message.id`")?;
        let known = self.by_message.get(&id).copied();
        let index = known.unwrap_or(self.calls.len());
        if known.is_none() {
            self.by_message.insert(id, index);
            self.begin_call(message.model.value(), request, time);
        }
        let answer = &mut self.calls[index];
        answer.end = answer.end.max(time);
        if let Some(stop) = message.stop.value() {
            answer.call.stop = Some(stop);
        }
        if let Some(usage) = message.usage.value() {
            let most = |known: &mut u32, more: Nullable<u32>| {
                *known = (*known).max(more.value().unwrap_or(0));
            };
            most(&mut answer.uncached, usage.input);
            most(&mut answer.written, usage.cache_creation);
            most(&mut answer.read, usage.cache_read);
            most(&mut answer.call.output, usage.output);
            for (key, value) in usage.extra {
                keep_extra(&mut answer.call, &key, value);
            }
        }
        let content = message.content.value().unwrap_or_default();
        answer.chars += match content.as_array() {
            None => chars_in(&content),
            Some(blocks) => blocks.iter().map(generated_chars).sum(),
        };
        let blocks = content.as_array().into_iter().flatten();
        for block in blocks.filter(|block| kind(block) == Some("tool_use")) {
            if let Some(id) = block.get("id").and_then(Value::as_str) {
                self.by_tool
                    .insert(id.to_owned(), (index, answer.tools.len()));
            }
            answer.tools.push(running_tool(block, time));
        }
        Ok(())
    }

    fn begin_call(&mut self, model: Option<String>, request: Option<String>, time: Instant) {
        let id = self.calls.len() as u32;
        let gap_kind = match (self.has_tool_result, self.has_user_text) {
            _ if id == 0 => GapKind::None,
            (true, true) => GapKind::Mixed,
            (true, false) => GapKind::Tool,
            (false, true) => GapKind::Human,
            (false, false) => GapKind::Unknown,
        };
        let input = self.input.filter(|&input| input <= time);
        let mut call = Call {
            id,
            gap_kind,
            model,
            ..Call::default()
        };
        let is_asked = self.has_tool_result || self.has_user_text;
        let begin = input.unwrap_or(time);
        if let Some(before) = self.calls.last()
            && is_asked
        {
            call.gap_ms = begin.since(before.end);
        }
        if let Some(request) = request {
            keep_extra(&mut call, "requestId", request.into());
        }
        (self.has_tool_result, self.has_user_text) = (false, false);
        self.calls.push(Answer {
            call,
            begin,
            end: time,
            is_asked,
            uncached: 0,
            written: 0,
            read: 0,
            chars: 0,
            tools: Vec::new(),
        });
    }

    /// The session; `None` if it has no call.
    pub fn finish(self, counts: &mut Counts) -> Result<Option<Finished>, String> {
        let Some(start) = self.calls.first().map(|first| first.begin) else {
            return Ok(None);
        };
        let sid = match self.agent.as_str() {
            "" => self.session.clone(),
            agent => format!("{}/{agent}", self.session),
        };
        let mut session = Session {
            sid,
            cls: Some("coding".to_owned()),
            start_ms: Nullable::Value(start.millis()),
            x: not_empty(self.extra),
            ..Session::default()
        };
        let (mut ends, mut tasks) = (Vec::new(), Vec::new());
        for answer in self.calls {
            if answer.call.id > 0 && !answer.is_asked {
                counts.mended.no_gap();
            }
            ends.push(answer.end);
            let id = answer.call.id;
            let is_task = |tool: &&RunningTool| tool.tool.cls.as_deref() == Some("subagent");
            tasks.extend(answer.tools.iter().filter(is_task).map(|tool| Task {
                call: id,
                emitted: tool.emitted,
                done: tool.done,
                agent: tool.agent.clone(),
                is_background: tool.tool.background == Some(true),
            }));
            let call = answer.finish(start, session.calls.last(), counts)?;
            session.calls.push(call);
        }
        Ok(Some(Finished {
            session,
            log_session: self.session,
            agent: self.agent,
            start,
            ends,
            tasks,
        }))
    }
}

impl Answer {
    fn finish(
        self,
        start: Instant,
        before: Option<&Call>,
        counts: &mut Counts,
    ) -> Result<Call, String> {
        let mut call = self.call;
        let prompt = [self.uncached, self.written, self.read].map(u64::from);
        call.input = tokens("the prompt", prompt.iter().sum())?;
        call.cached = Some(self.read);
        call.at_ms = Some(self.begin.since(start));
        call.observed = Some(Observed {
            api_ms: Some(self.end.since(self.begin)),
            ..Observed::default()
        });
        let estimate = tokens_of(self.chars);
        if u64::from(call.output) * 2 < estimate {
            counts.estimated += 1;
            let logged = call.output;
            keep_extra(&mut call, "output_tokens", logged.into());
            call.output = tokens("the answer", estimate)?;
            call.output_estimated = Some(true);
        }
        let (ran, rest): (Vec<RunningTool>, Vec<RunningTool>) =
            self.tools.into_iter().partition(|tool| tool.done.is_some());
        let end = self.end;
        let timed = ran.into_iter().map(|running| Tool {
            start_ms: Some(running.emitted.offset_ms(end)),
            ..running.tool
        });
        call.tools = Some(timed.collect()).filter(|tools: &Vec<Tool>| !tools.is_empty());
        if !rest.is_empty() {
            // Their results were never logged: nothing is known of their duration.
            let names: Vec<String> = rest.into_iter().map(|running| running.tool.name).collect();
            keep_extra(&mut call, "tools_without_result", names.into());
        }
        counts.mended.tokens(&mut call);
        if before.is_some() {
            counts.mended.keep(&mut call, self.read, before);
        }
        Ok(call)
    }
}

fn kind(block: &Value) -> Option<&str> {
    block.get("type")?.as_str()
}

/// Characters of a block that the model wrote.
fn generated_chars(block: &Value) -> u64 {
    let part = |key: &str| block.get(key).map_or(0, chars_in);
    part("text") + part("thinking") + part("name") + part("input")
}

fn running_tool(block: &Value, emitted: Instant) -> RunningTool {
    let name = block.get("name").and_then(Value::as_str).unwrap_or("tool");
    let input = block.get("input");
    let command = input.and_then(|input| input.get("command")?.as_str());
    let background = input.and_then(|input| input.get("run_in_background")?.as_bool());
    let tool = Tool {
        name: name.to_owned(),
        cls: of_tool(name, command).map(str::to_owned),
        background: background.filter(|&background| background),
        ..Tool::default()
    };
    RunningTool {
        tool,
        emitted,
        done: None,
        agent: None,
    }
}
