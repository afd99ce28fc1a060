-- What scripts find in every state, beside the functions of the server.

-- What an error handler of Lua could swallow is raised again when the time of the script is over.
do
   local expired, too_long = ...
   local pcall_, resume_, create_ = pcall, coroutine.resume, coroutine.create

   local function checked(...)
      if expired() then error(too_long, 0) end
      return ...
   end

   local function handled(handler, ok, ...)
      if ok then return ok, ... end
      return ok, handler(...)
   end

   function pcall(...) return checked(pcall_(...)) end

   -- The handler runs when the error has unwound the stack: before, nobody looks at the clock.
   function xpcall(f, handler, ...) return handled(handler, checked(pcall_(f, ...))) end

   local function resume(...) return checked(resume_(...)) end
   coroutine.resume = resume

   local function values(ok, ...)
      if ok then return ... end
      error((...), 0)
   end

   function coroutine.wrap(f)
      local co = create_(f)
      return function(...) return values(resume(co, ...)) end
   end
end

-- Prints a value with its type, tables with all that they hold, at most "limit" lines (100).
function PrintRecursive(value, limit, prefix)
   limit = limit or 100
   prefix = prefix or ''
   if limit < 1 then
      print('(more is not shown)')
      return limit - 1
   end
   local kind = type(value)
   if kind ~= 'table' then
      print(prefix, kind, value)
      return limit - 1
   end
   print(prefix, kind)
   limit = limit - 1
   for key, member in pairs(value) do
      limit = PrintRecursive(member, limit, prefix .. '\t[' .. tostring(key) .. ']')
      if limit < 0 then break end
   end
   return limit
end

-- The operations that a callback asks for; each works on a resource, or on what the operation before it returned.
_job = {}

function _InitializeJob()
   _job = {}
end

function _AccessJob()
   return _job
end

local function operation(resource, name, arguments)
   if resource == nil then
      error('there is no resource for ' .. name, 3)
   end
   arguments.Operation = name
   arguments.Resource = resource
   table.insert(_job, arguments)
end

function SendToModality(resource, modality, localAet)
   operation(resource, 'store-scu', { Modality = modality, LocalAet = localAet })
   return resource
end

function SendToPeer(resource, peer)
   operation(resource, 'store-peer', { Peer = peer })
   return resource
end

function Delete(resource)
   operation(resource, 'delete', {})
   return nil
end

function ModifyResource()
   error('ModifyInstance is not implemented in this version', 2)
end

ModifyInstance = ModifyResource

function CallSystem(resource, command, arguments)
   if command == nil then
      error('there is no command', 2)
   end
   operation(resource, 'call-system', { Command = command, Arguments = arguments })
   return resource
end
