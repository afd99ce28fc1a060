-- Writes down each event where the checks read it. One that comes behind another of its resource says whether that was told before.
local function told(event)
   return function(id) StoreKeyValue(event, id, 'told') end
end

local function behind(event, before)
   return function(id) StoreKeyValue(event, id, GetKeyValue(before, id) and 'told' or 'before ' .. before) end
end

OnStoredInstance = told('OnStoredInstance')
OnNewStudy = told('OnNewStudy')
OnStableStudy = behind('OnStableStudy', 'OnNewStudy')
OnJobSubmitted = told('OnJobSubmitted')
OnJobSuccess = behind('OnJobSuccess', 'OnJobSubmitted')
OnJobFailure = behind('OnJobFailure', 'OnJobSubmitted')
