//! What kind of work a tool of a coding agent does.
//!
//! The name alone says little: most calls are "Bash". The command does: tests and installs carry the tail of the
//! durations, file tools end in milliseconds. The classes are those of the agentcgroup traces.

/// Class of a tool of Claude Code, Codex or a like agent; `None` where the name says nothing.
pub fn of_tool(name: &str, command: Option<&str>) -> Option<&'static str> {
    let class = match name {
        "Bash" | "shell" | "exec_command" | "local_shell" | "bash" => match command {
            Some(command) => of_command(command),
            None => "shell",
        },
        "BashOutput" | "KillShell" | "KillBash" | "write_stdin" => "shell",
        "Read" | "NotebookRead" | "view_image" => "file_read",
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" | "apply_patch" => "file_edit",
        "Grep" | "Glob" | "LS" => "file_search",
        "TodoWrite" | "ExitPlanMode" | "EnterPlanMode" | "update_plan" => "plan",
        "Task" | "Agent" | "TaskOutput" | "AgentOutputTool" => "subagent",
        "WebSearch" | "web_search" => "web_search",
        "WebFetch" => "web_fetch",
        _ => return None,
    };
    Some(class)
}

/// Class of a shell command, by the first program that tells. A `cd` in front, variables set for the command and the
/// folders of a program are looked through.
pub fn of_command(command: &str) -> &'static str {
    let parts = command.split(['&', ';', '|', '\n']);
    let telling = parts
        .filter_map(of_part)
        .find(|&class| class != "shell:fs-small");
    let is_small = command
        .split(['&', ';', '|', '\n'])
        .any(|part| of_part(part).is_some());
    telling.unwrap_or(if is_small {
        "shell:fs-small"
    } else {
        "shell:other"
    })
}

fn of_part(part: &str) -> Option<&'static str> {
    let mut words = part
        .split_whitespace()
        .filter(|word| !word.contains('=') && !["cd", "sudo", "time", "env"].contains(word))
        .map(|word| word.rsplit('/').next().unwrap_or(word));
    let program = words.next()?;
    let rest: Vec<&str> = words.collect();
    let has = |words: &[&str]| rest.iter().any(|word| words.contains(word));
    let class = match program {
        "pytest" | "tox" | "jest" | "vitest" | "ctest" | "rspec" | "runtests.py" => "shell:test",
        "cargo" | "go" | "npm" | "yarn" | "pnpm" | "make" | "mvn" | "gradle" | "dotnet"
            if has(&["test", "check", "nextest"]) =>
        {
            "shell:test"
        }
        "npm" | "yarn" | "pnpm" | "pip" | "pip3" | "uv" | "conda" | "apt" | "apt-get"
        | "poetry"
            if has(&["install", "add", "sync", "ci", "i", "update"]) =>
        {
            "shell:install"
        }
        "python" | "python3" if has(&["pytest", "unittest", "runtests.py"]) => "shell:test",
        "python" | "python3" if has(&["pip"]) => "shell:install",
        "python" | "python3" => "shell:python",
        "cargo" | "go" | "npm" | "yarn" | "pnpm" | "make" | "mvn" | "gradle" | "dotnet"
        | "cmake" | "ninja" | "gcc" | "g++" | "rustc" | "tsc" => "shell:build",
        "git" | "gh" => "shell:git",
        "grep" | "rg" | "find" | "fd" | "ag" => "shell:search",
        "ls" | "cat" | "head" | "tail" | "sed" | "awk" | "wc" | "echo" | "mkdir" | "cp" | "mv"
        | "rm" | "touch" | "pwd" | "which" | "sort" | "uniq" | "diff" => "shell:fs-small",
        _ => return None,
    };
    Some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_decides_the_class_of_a_shell_call() {
        for (command, class) in [
            ("pytest -q", "shell:test"),
            (
                "cd repo && RUST_LOG=1 cargo test -p x 2>&1 | tail -5",
                "shell:test",
            ),
            ("python -m pytest tests", "shell:test"),
            ("python3 run.py", "shell:python"),
            ("pip install -e .", "shell:install"),
            ("cat a | grep b", "shell:search"),
            ("ls -la; cat x", "shell:fs-small"),
            ("/usr/bin/git status", "shell:git"),
            ("cargo build --release", "shell:build"),
            ("frobnicate", "shell:other"),
            ("", "shell:other"),
        ] {
            assert_eq!(of_command(command), class, "{command}");
        }
    }

    #[test]
    fn other_tools_are_known_by_name() {
        assert_eq!(of_tool("Bash", Some("ls")), Some("shell:fs-small"));
        assert_eq!(of_tool("Bash", None), Some("shell"));
        assert_eq!(of_tool("Read", None), Some("file_read"));
        assert_eq!(of_tool("mcp__x__y", None), None);
    }
}
