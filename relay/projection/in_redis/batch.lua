-- A batch of events, as packing.py makes it. ARGV[2] is its header, ARGV[3] all payloads, put together.
--
-- All else is columns, in each a value for each event. Those of a batch of the usual form are texts from ARGV[4] on, whose
-- values end with a separator: such a column is cut once somebody looks at it. Those of others are lists in the header.
local COLUMNS = {'handlers', 'fault', 'origins', 'key', 'seq', 'stream_seq', 'time_ns', 'id', 'topic', 'at', 'version',
  'headers', 'block'}
local batch, place

local function batch_of(header)
  local h = cjson.decode(header)
  local is_column, texts = {}, {}
  for at, name in ipairs(h.texts) do texts[name] = ARGV[3 + at] end
  for _, name in ipairs(COLUMNS) do
    is_column[name] = true
    for at, value in ipairs(h[name] or {}) do
      if value == cjson.null then h[name][at] = nil end
    end
  end
  h.finish = {[0] = 0}
  for at, length in ipairs(h.length) do h.finish[at] = h.finish[at - 1] + length end
  batch = setmetatable(h, {__index = function(_, name)
    if not is_column[name] then return nil end
    local values = {}
    for value in string.gmatch(texts[name] or '', '([^\30]*)\30') do values[#values + 1] = value end
    h[name] = values
    return values
  end})
  return h
end

local function payload_of(h, i)
  return string.sub(ARGV[3], h.finish[i - 1] + 1, h.finish[i])
end

-- The headers of an event as JSON: what is parked keeps them all. A block is of lines, the first one its version.
local function headers_of(h, i)
  if h.headers[i] then return h.headers[i] end
  local block, headers = h.block[i], {}
  local from, to = string.find(block, '\r\n', 1, true)
  while to do
    local start = to + 1
    from, to = string.find(block, '\r\n', start, true)
    local name, value = string.match(string.sub(block, start, (from or 0) - 1), '^([^:]*): ?(.*)$')
    if name then headers[name] = value end
  end
  return cjson.encode(headers)
end

-- What a handler sees of an event, as far as it looks.
local SHOWN = {seq = true, stream_seq = true, id = true, topic = true, at = true, version = true}
local EVENT = {__index = function(_, name)
  local value = SHOWN[name] and batch[name][place]
  if name == 'version' then return tonumber(value) end
  return value or nil
end}

local function call(handler, e, payload)
  e.data = cjson.decode(payload)
  handler(e, read, write)
end

-- Apply an event; answer the failure that refused it, nil if there was none.
local function apply_event(h, i, now)
  if h.fault[i] then return h.fault[i] end
  place, writes = i, 0
  local e = setmetatable({key = h.key[i], now = now}, EVENT)
  local good, failure = pcall(call, handlers[h.handler or h.handlers[i]], e, payload_of(h, i))
  if not good then return failure or 'refused without a reason' end
  return carry_out()
end
