//! One Lua state: the sandbox, its limits, and what scripts have defined in it.

use crate::limits::Clock;
use crate::{Setup, api, failed};
use mlua::{Function, HookTriggers, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table, Value, VmState};
use model::ports::hooks::Definition;
use model::{Error, ErrorKind, Result};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Instructions between two looks at the clock.
const TICK: u32 = 1_000;
const TOO_LONG: &str = "the script ran too long";
const TOOLBOX: &str = include_str!("toolbox.lua");

/// What the functions of a state share with who runs it.
pub(crate) struct Shared {
    pub(crate) setup: Arc<Setup>,
    pub(crate) clock: Clock,
    output: Mutex<String>,
    /// How many scripts are waiting for what this one does.
    pub(crate) depth: AtomicU8,
    /// A definition of another state is run again: the outside world is not asked and hears nothing.
    replays: AtomicBool,
}

impl Shared {
    fn output(&self) -> MutexGuard<'_, String> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs what a script asks of the server, within its time. `None` if the script is run again for its definitions only, or if the time is over.
    pub(crate) fn call<T>(&self, work: impl Future<Output = T>) -> mlua::Result<Option<T>> {
        if self.replays.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let begin = Instant::now();
        let runtime = tokio::runtime::Handle::try_current().map_err(mlua::Error::external)?;
        let work = crate::pool::nested(self.depth.load(Ordering::Relaxed), tokio::time::timeout(self.clock.left(), work));
        let answer = runtime.block_on(work);
        self.clock.pause(begin.elapsed());
        answer.map(Some).map_err(|_| mlua::Error::runtime(TOO_LONG))
    }
}

/// A state. One thread uses it at a time.
pub(crate) struct State {
    lua: Lua,
    shared: Arc<Shared>,
    /// The script that is known for each name that was defined while the servers run.
    applied: BTreeMap<String, String>,
}

impl State {
    /// A new state with the scripts of the configuration.
    ///
    /// # Errors
    /// `Script`: a script of the configuration fails.
    pub(crate) fn new(setup: Arc<Setup>) -> Result<Self> {
        let shared = Arc::new(Shared {
            clock: Clock::new(),
            output: Mutex::default(),
            depth: AtomicU8::new(0),
            replays: AtomicBool::new(false),
            setup: setup.clone(),
        });
        let lua = sandbox(&shared).map_err(|e| failed(&e))?;
        let state = Self { lua, shared, applied: BTreeMap::new() };
        for (name, script) in &setup.scripts {
            state.load(name, script)?;
        }
        Ok(state)
    }

    fn load(&self, name: &str, script: &str) -> Result<()> {
        self.begin(0);
        self.lua.load(script).set_name(format!("@{name}")).set_mode(mlua::chunk::ChunkMode::Text).exec().map_err(|e| failed(&e))
    }

    fn begin(&self, depth: u8) {
        self.shared.output().clear();
        self.shared.depth.store(depth, Ordering::Relaxed);
        self.shared.clock.start(&self.shared.setup.limits);
    }

    /// Runs a script. Returns what it printed, and the globals that it assigned.
    ///
    /// # Errors
    /// `Script` with the interpreter's message, also when the script takes too long.
    pub(crate) fn execute(&mut self, id: &str, script: &str, depth: u8) -> Result<(String, BTreeSet<String>)> {
        self.begin(depth);
        let before = self.globals()?;
        self.lua.load(script).set_name("script").set_mode(mlua::chunk::ChunkMode::Text).exec().map_err(|e| failed(&e))?;
        let after = self.globals()?;
        let names: BTreeSet<_> = before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).collect();
        let names: BTreeSet<String> = names.into_iter().cloned().collect();
        self.applied.extend(names.iter().map(|name| (name.clone(), id.to_owned())));
        Ok((std::mem::take(&mut *self.shared.output()), names))
    }

    /// The globals by name. Tables and functions are the same if they are the same object.
    fn globals(&self) -> Result<BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        for pair in self.lua.globals().pairs::<Value, Value>() {
            if let (Value::String(name), value) = pair.map_err(|e| failed(&e))? {
                all.insert(name.to_string_lossy(), value);
            }
        }
        all.remove("_job");
        Ok(all)
    }

    /// Runs again what other states were told while the servers run, in its order, from the first script on that is not known here.
    pub(crate) fn catch_up(&mut self, definitions: &[Definition]) {
        let unknown = |d: &&Definition| self.applied.get(&d.name) != Some(&d.id);
        let Some(first) = definitions.iter().filter(unknown).map(|d| d.order).min() else { return };
        let mut scripts: Vec<_> = definitions.iter().filter(|d| d.order >= first).map(|d| (d.order, &d.id, &d.script)).collect();
        scripts.sort_unstable();
        scripts.dedup();
        self.shared.replays.store(true, Ordering::Relaxed);
        for (_, id, script) in scripts {
            if let Err(error) = self.load("script", script) {
                tracing::warn!(target: "lua", script = %id, "a script that was executed fails in another state: {error}");
            }
        }
        self.shared.replays.store(false, Ordering::Relaxed);
        self.applied = definitions.iter().map(|d| (d.name.clone(), d.id.clone())).collect();
    }

    /// A global function.
    pub(crate) fn function(&self, name: &str) -> Option<Function> {
        match self.lua.globals().raw_get(name) {
            Ok(Value::Function(function)) => Some(function),
            _ => None,
        }
    }

    /// Calls the callback of an event, if there is one. Returns the operations that it asks for.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub(crate) fn event(&self, name: &str, arguments: &[Json], depth: u8) -> Result<Vec<Json>> {
        if self.function(name).is_none() {
            return Ok(vec![]);
        }
        self.call("_InitializeJob", &[], depth)?;
        self.call(name, arguments, depth)?;
        let operations = self.call("_AccessJob", &[], depth)?.unwrap_or(Value::Nil);
        match crate::json::from_lua(&self.lua, &operations, false).map_err(|e| failed(&e))? {
            Json::Array(operations) => Ok(operations),
            _ => Err(Error::new(ErrorKind::Script, "the operations of a callback (_job) must be an array")),
        }
    }

    /// Calls a global function, if there is one.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub(crate) fn call(&self, name: &str, arguments: &[Json], depth: u8) -> Result<Option<Value>> {
        let Some(function) = self.function(name) else { return Ok(None) };
        self.begin(depth);
        let call = || {
            let arguments: Vec<Value> =
                arguments.iter().map(|json| crate::json::to_lua(&self.lua, json)).collect::<mlua::Result<_>>()?;
            function.call::<Value>(MultiValue::from_vec(arguments))
        };
        let result = call().map_err(|e| failed(&e));
        self.shared.output().clear();
        result.map(Some)
    }
}

fn sandbox(shared: &Arc<Shared>) -> mlua::Result<Lua> {
    let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::UTF8 | StdLib::COROUTINE | StdLib::OS;
    let lua = Lua::new_with(libraries, LuaOptions::default())?;
    lua.set_memory_limit(shared.setup.limits.memory_bytes)?;
    let globals = lua.globals();
    for name in ["load", "loadfile", "dofile", "collectgarbage"] {
        globals.raw_set(name, mlua::Nil)?;
    }
    let (all, clocks) = (globals.raw_get::<Table>("os")?, lua.create_table()?);
    for name in ["clock", "date", "difftime", "time"] {
        clocks.raw_set(name, all.raw_get::<Value>(name)?)?;
    }
    globals.raw_set("os", clocks)?;
    globals.raw_set("print", print(&lua, shared.clone())?)?;
    globals.raw_set("setmetatable", set_metatable(&lua)?)?;
    let clock = shared.clone();
    let expired = lua.create_function(move |_, ()| Ok(clock.clock.expired()))?;
    lua.load(TOOLBOX).set_name("toolbox").call::<()>((expired, TOO_LONG))?;
    api::register(&lua, shared)?;
    let clock = shared.clone();
    // After the toolbox, which is no script. Also coroutines that are made later have this hook.
    lua.set_global_hook(HookTriggers::new().every_nth_instruction(TICK), move |_, _| {
        if clock.clock.expired() { Err(mlua::Error::runtime(TOO_LONG)) } else { Ok(VmState::Continue) }
    })?;
    Ok(lua)
}

/// `setmetatable` without `__gc`: finalizers run when no clock is looked at.
fn set_metatable(lua: &Lua) -> mlua::Result<Function> {
    let original: Function = lua.globals().raw_get("setmetatable")?;
    lua.create_function(move |_, (table, metatable): (Value, Value)| {
        if let Value::Table(metatable) = &metatable
            && metatable.raw_get::<Value>("__gc")? != Value::Nil
        {
            return Err(mlua::Error::runtime("finalizers (__gc) are not allowed"));
        }
        original.call::<Table>((table, metatable))
    })
}

/// Orthanc's `print`: its arguments joined by a comma, to the log and into the answer of who executes the script.
fn print(lua: &Lua, shared: Arc<Shared>) -> mlua::Result<Function> {
    lua.create_function(move |lua, values: MultiValue| {
        if shared.replays.load(Ordering::Relaxed) {
            return Ok(());
        }
        let tostring: Function = lua.globals().get("tostring")?;
        let mut line = Vec::with_capacity(values.len());
        for value in values {
            line.push(tostring.call::<LuaString>(value)?.to_string_lossy());
        }
        let line = line.join(", ");
        let mut output = shared.output();
        if output.len() + line.len() > shared.setup.limits.output_bytes {
            return Err(mlua::Error::runtime("the script printed too much"));
        }
        tracing::warn!(target: "lua", "Lua says: {line}");
        output.push_str(&line);
        output.push('\n');
        Ok(())
    })
}
