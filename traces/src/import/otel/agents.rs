//! Which spans belong to which agent.

use std::collections::HashMap;

use super::Counts;
use super::raw::Span;

/// One agent's calls and tools, by start.
#[derive(Debug)]
pub struct Agent {
    pub sid: String,
    /// For a sub-agent: index of the agent that invoked it, and its own span.
    pub invoked: Option<(usize, Span)>,
    pub calls: Vec<Span>,
    pub tools: Vec<Span>,
}

/// What a span is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Call,
    Tool,
    Agent,
    Other,
}

impl Kind {
    fn of(span: &Span) -> Self {
        match span.operation() {
            Some("chat" | "text_completion" | "generate_content") => Self::Call,
            Some("execute_tool") => Self::Tool,
            Some("invoke_agent") => Self::Agent,
            _ => Self::Other,
        }
    }
}

/// Spans by trace and id, with what is above each.
struct Tree<'a> {
    spans: &'a [Span],
    /// Looked up only.
    by_id: HashMap<(&'a str, &'a str), usize>,
}

impl<'a> Tree<'a> {
    fn new(spans: &'a [Span]) -> Result<Self, String> {
        let mut by_id = HashMap::with_capacity(spans.len());
        for (index, span) in spans.iter().enumerate() {
            if by_id
                .insert((span.trace.as_str(), span.id.as_str()), index)
                .is_some()
            {
                return Err(format!(
                    "two spans are called {} in trace {}",
                    span.id, span.trace
                ));
            }
        }
        Ok(Self { spans, by_id })
    }

    /// The spans above `index`, nearest first. A circle ends where it closes.
    fn above(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        let mut steps = 0;
        std::iter::successors(self.parent(index), move |&above| {
            steps += 1;
            self.parent(above).filter(|_| steps < self.spans.len())
        })
    }

    fn parent(&self, index: usize) -> Option<usize> {
        let span = &self.spans[index];
        let parent = span.parent.as_deref()?;
        self.by_id.get(&(span.trace.as_str(), parent)).copied()
    }

    /// The nearest agent above `index`.
    fn agent_above(&self, index: usize) -> Option<usize> {
        self.above(index)
            .find(|&above| Kind::of(&self.spans[above]) == Kind::Agent)
    }

    /// The conversation that `index` belongs to: its own, the nearest one above, or its trace.
    fn conversation(&self, index: usize) -> String {
        let named = |index: usize| {
            let id = self.spans[index].attributes.get("gen_ai.conversation.id")?;
            id.as_str().map(str::to_owned)
        };
        let above = || self.above(index).find_map(named);
        named(index)
            .or_else(above)
            .unwrap_or_else(|| self.spans[index].trace.clone())
    }
}

/// Sorts `spans` out by agent. Agents without a call are left out unless others were invoked by them.
pub fn agents(mut spans: Vec<Span>, counts: &mut Counts) -> Result<Vec<Agent>, String> {
    // Order of the file must not matter: exporters write spans as they end.
    spans.sort_by(|a, b| (a.start, &a.trace, &a.id).cmp(&(b.start, &b.trace, &b.id)));
    let tree = Tree::new(&spans)?;
    let mut agents: Vec<Agent> = Vec::new();
    // Agent by conversation, or by its own span. Looked up only.
    let mut main: HashMap<String, usize> = HashMap::new();
    let mut by_span: HashMap<usize, usize> = HashMap::new();
    // An agent begins no later than what it does, except where clocks differ; so agents first.
    let is_agent = |index: &usize| Kind::of(&spans[*index]) == Kind::Agent;
    let (invoked, rest): (Vec<usize>, Vec<usize>) = (0..spans.len()).partition(is_agent);
    for index in invoked.into_iter().chain(rest) {
        let span = &spans[index];
        let kind = Kind::of(span);
        if kind == Kind::Other {
            counts.ignored += 1;
            continue;
        }
        let above = tree
            .agent_above(index)
            .and_then(|above| by_span.get(&above).copied());
        let conversation = tree.conversation(index);
        if kind == Kind::Agent
            && let Some(parent) = above
        {
            let name = span.attributes.get("gen_ai.agent.name");
            let name = name.and_then(|name| name.as_str()).unwrap_or("agent");
            by_span.insert(index, agents.len());
            agents.push(Agent {
                sid: format!("{conversation}/{name}-{}", span.id),
                invoked: Some((parent, span.clone())),
                calls: Vec::new(),
                tools: Vec::new(),
            });
            continue;
        }
        let owner = above.unwrap_or_else(|| {
            *main.entry(conversation.clone()).or_insert_with(|| {
                agents.push(Agent {
                    sid: conversation,
                    invoked: None,
                    calls: Vec::new(),
                    tools: Vec::new(),
                });
                agents.len() - 1
            })
        });
        match kind {
            Kind::Agent => {
                by_span.insert(index, owner);
            }
            Kind::Tool => agents[owner].tools.push(span.clone()),
            Kind::Call | Kind::Other => agents[owner].calls.push(span.clone()),
        }
    }
    Ok(agents)
}
