//! One Lua state with limits on memory and time.

use mlua::{HookTriggers, LuaOptions, LuaString, MultiValue, StdLib, VmState};
use model::{Error, ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Memory that scripts may hold.
const MAX_MEMORY_BYTES: usize = 64 << 20;
/// Text that one script may print.
const MAX_OUTPUT_BYTES: usize = 16 << 20;
/// How long one script may run.
const MAX_TIME: Duration = Duration::from_secs(10);
/// Instructions between two looks at the clock.
const TICK: u32 = 10_000;

pub(crate) struct Sandbox {
    lua: mlua::Lua,
    output: Arc<Mutex<String>>,
}

fn failed(error: &mlua::Error) -> Error {
    Error::new(ErrorKind::Script, error.to_string())
}

impl Sandbox {
    pub(crate) fn new() -> Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::UTF8 | StdLib::COROUTINE;
        let lua = mlua::Lua::new_with(libraries, LuaOptions::default()).map_err(|e| failed(&e))?;
        lua.set_memory_limit(MAX_MEMORY_BYTES).map_err(|e| failed(&e))?;
        for name in ["load", "loadfile", "dofile", "collectgarbage"] {
            lua.globals().set(name, mlua::Nil).map_err(|e| failed(&e))?;
        }
        let output = Arc::new(Mutex::new(String::new()));
        let print = print(&lua, output.clone()).map_err(|e| failed(&e))?;
        lua.globals().set("print", print).map_err(|e| failed(&e))?;
        Ok(Self { lua, output })
    }

    /// Runs a script and returns what it printed.
    ///
    /// # Errors
    /// `Script` with the interpreter's message, also when the script takes too long.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.execute(script).map_err(|e| failed(&e))?;
        Ok(std::mem::take(&mut *self.output.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The script runs in a coroutine that the hook suspends when the time is over: an error of the hook could be caught by
    /// the script's own `pcall`, a suspension cannot.
    fn execute(&self, script: &str) -> mlua::Result<()> {
        let function = self.lua.load(script).set_name("script").into_function()?;
        let thread = self.lua.create_thread(function)?;
        let end = Instant::now() + MAX_TIME;
        thread.set_hook(HookTriggers::new().every_nth_instruction(TICK), move |_, _| {
            Ok(if Instant::now() > end { VmState::Yield } else { VmState::Continue })
        })?;
        loop {
            thread.resume::<MultiValue>(())?;
            if !thread.is_resumable() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(mlua::Error::runtime(format!("the script ran longer than {} s", MAX_TIME.as_secs())));
            }
        }
    }
}

/// Orthanc's `print`: its arguments joined by a comma, a line feed.
fn print(lua: &mlua::Lua, output: Arc<Mutex<String>>) -> mlua::Result<mlua::Function> {
    lua.create_function(move |lua, values: MultiValue| {
        let tostring: mlua::Function = lua.globals().get("tostring")?;
        let mut line = Vec::with_capacity(values.len());
        for value in values {
            line.push(tostring.call::<LuaString>(value)?.to_string_lossy());
        }
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        if output.len() > MAX_OUTPUT_BYTES {
            return Err(mlua::Error::runtime("the script printed too much"));
        }
        output.push_str(&line.join(", "));
        output.push('\n');
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_print_and_remember() {
        let sandbox = Sandbox::new().unwrap();
        assert_eq!(sandbox.run("print(1 + 1, nil, 'a')").unwrap(), "2, nil, a\n");
        sandbox.run("x = 5").unwrap();
        assert_eq!(sandbox.run("print(x)").unwrap(), "5\n");
        assert_eq!(sandbox.run("return 5").unwrap(), "");
    }

    #[test]
    fn bad_scripts_are_errors() {
        let sandbox = Sandbox::new().unwrap();
        for bad in [
            "this is bad",
            "error('boom')",
            "io.open('x')",
            "os.execute('true')",
            "require('x')",
            "local s = 'x' while true do s = s .. s end",
        ] {
            assert_eq!(sandbox.run(bad).unwrap_err().kind(), ErrorKind::Script, "{bad}");
        }
        assert_eq!(sandbox.run("print(2)").unwrap(), "2\n");
    }
}
