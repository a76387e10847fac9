//! Who is right, where the survey and this code differ.

/// A row is explained by the first entry whose trace and quantity it begins with.
const WHY: &[(&str, &str, &str)] = &[
    (
        "Weka",
        "input_tokens, mu",
        "11.4449; the survey rounded twice",
    ),
    (
        "Weka",
        "output_tokens, sigma",
        "0.8874; the survey cut the digit",
    ),
    (
        "Weka",
        "gap_tool_or_mixed_s",
        "22 gaps have no service time to correct by; the survey leaves them out, here they stay as recorded",
    ),
    ("Weka", "P(tool gap", "the same 22 gaps"),
    (
        "Weka",
        "gap_raw_human_s",
        "94 requests have no think_time; the survey leaves them out, the importer takes the distance of starts",
    ),
    (
        "Weka",
        "P(user after user)",
        "here the first prompt counts as a user's; from the second on it is 0.512",
    ),
    (
        "agentcgroup, GLM-4.7-Flash",
        "output_tokens, sigma",
        "0.9446; the survey rounded twice",
    ),
    (
        "agentcgroup, GLM-4.7-Flash",
        "context_max_tokens",
        "the survey takes the largest prompt (53,524 and 127,260), here prompt and output",
    ),
    (
        "agentcgroup, Haiku-4.5",
        "context_max_tokens",
        "the survey takes the largest prompt (66,449 and 106,364), here prompt and output",
    ),
    (
        "agentcgroup, Haiku-4.5",
        "file_edit",
        "the survey counts Edit alone; the class holds 26 calls of Write, too",
    ),
    (
        "agentcgroup, Haiku-4.5",
        "file_search",
        "the survey counts Grep alone; the class holds 3 calls of Glob, too",
    ),
    (
        "agentcgroup, Haiku-4.5",
        "subagent",
        "the survey counts Task alone; the class holds 4 short calls of TaskOutput, too",
    ),
    (
        "agentcgroup, Haiku-4.5",
        "shell:test, max",
        "181.46 s; the survey rounded up",
    ),
    (
        "agentcgroup, Haiku-3.5",
        "P(tool gap > 0.5 s)",
        "0.2746; the survey rounded twice",
    ),
    (
        "tau2, all three",
        "share of calls with a tool",
        "the survey counts the greeting of each session as a call; with it, 30.9 and 43.8 %",
    ),
    (
        "Azure, code",
        "busiest minute",
        "632 requests, over the mean of the 57.3 minutes; the survey divides by 58, of which the last is not full",
    ),
    (
        "Mooncake conversation",
        "hits of an infinite cache",
        "here of prompt tokens, in the survey of blocks, of which the last is not full",
    ),
    (
        "Mooncake conversation",
        "",
        "another rule of chaining: here a request continues the latest one of which all full blocks, three or more, are its prefix",
    ),
];

/// The reason, or nothing.
pub fn why(trace: &str, quantity: &str) -> &'static str {
    let explains =
        |(of, start, _): &&(&str, &str, &str)| *of == trace && quantity.starts_with(start);
    WHY.iter().find(explains).map_or("", |(_, _, why)| why)
}
