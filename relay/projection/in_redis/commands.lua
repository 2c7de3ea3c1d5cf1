-- What a handler may call, and what becomes of it.
--
-- Reads answer at once. Writes are kept until the handler has come to its end, so that one that fails halfway has written
-- nothing. Each takes one key, its first argument.
local READS, WRITES = {}, {}
for name in string.gmatch([[GET MGET STRLEN GETRANGE GETBIT BITCOUNT EXISTS TYPE TTL PTTL HGET HMGET HGETALL HEXISTS HLEN
    HKEYS HVALS SISMEMBER SCARD SMEMBERS ZSCORE ZCARD ZCOUNT ZRANK ZREVRANK ZRANGE ZREVRANGE ZRANGEBYSCORE LLEN LRANGE
    LINDEX PFCOUNT]], '%u+') do READS[name] = true end
for name in string.gmatch([[SET SETEX SETRANGE SETBIT APPEND INCR INCRBY INCRBYFLOAT DECR DECRBY DEL UNLINK EXPIRE PEXPIRE
    EXPIREAT PERSIST HSET HSETNX HDEL HINCRBY HINCRBYFLOAT SADD SREM ZADD ZINCRBY ZREM ZREMRANGEBYRANK ZREMRANGEBYSCORE
    LPUSH RPUSH LPOP RPOP LTRIM LSET LREM PFADD]], '%u+') do WRITES[name] = true end
-- Every whole number below is held as it is by a double. A payload with a larger one was rounded before we see it.
local EXACT = 2 ^ 53
-- More arguments, and more fields to be copied, would not fit on the stack of Lua.
local MAX_ARGUMENTS = 4000
local ONE_KEY = {DEL = true, UNLINK = true, MGET = true, EXISTS = true, PFCOUNT = true}
-- What a handler writes: the arguments of all its commands one behind the other, and for each command where its end is.
local queue, ends, writes = {}, {[0] = 0}, 0

-- Answer an argument as it is written: a text, or a number; -0 is 0, as Redis up to 7.0 counts with no -0.
local function check_value(value, name, place)
  local kind = type(value)
  if kind == 'string' then return value end
  local fault = nil
  if kind ~= 'number' then
    fault = kind
  elseif value - value ~= 0 then
    fault = 'not a number, or larger than any'
  elseif value >= EXACT or value <= -EXACT then
    fault = 'a number of 2^53 or more, which may have been rounded: write it as a text'
  end
  if fault then error('argument ' .. place .. ' of ' .. name .. ' is ' .. fault, 0) end
  return value == 0 and 0 or value
end

-- Answer the name of a command that a handler may call with so many arguments, itself included.
local function checked(known, name, count)
  if not known[name] then
    name = type(name) == 'string' and string.upper(name) or '?'
    if not known[name] then error({misuse = name .. ' cannot be called here'}) end
  end
  if count > MAX_ARGUMENTS then error(name .. ' has more than ' .. MAX_ARGUMENTS .. ' arguments', 0) end
  if count < 2 or (ONE_KEY[name] and count ~= 2) then error({misuse = name .. ' takes one key'}) end
  return name
end

-- Under this every projection of the server is written down: an event that could write there could stop them all.
local RESERVED = 'projection:{'

-- Answer a key as a text.
local function check_key(key, name)
  key = check_value(key, name, 1)
  if type(key) == 'number' then return string.format('%.17g', key) end
  if string.sub(key, 1, #RESERVED) == RESERVED then
    error('the key of ' .. name .. ' begins with ' .. RESERVED .. ', under which projections are written down', 0)
  end
  return key
end

local function read(...)
  local count = select('#', ...)
  local name = checked(READS, (...), count)
  check_key((select(2, ...)), name)
  for i = 3, count do check_value((select(i, ...)), name, i - 1) end
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then error(answer) end
  return answer
end

local function write(...)
  local count = select('#', ...)
  local name, key, first, second = ...
  name = checked(WRITES, name, count)
  local before = ends[writes]
  key = check_key(key, name)
  queue[before + 1], queue[before + 2] = name, key
  if count > 2 then
    queue[before + 3] = check_value(first, name, 2)
  end
  if count > 3 then
    queue[before + 4] = check_value(second, name, 3)
  end
  for i = 5, count do
    queue[before + i] = check_value((select(i, ...)), name, i - 1)
  end
  writes = writes + 1
  ends[writes] = before + count
end

local function text_of(failure)
  if type(failure) == 'table' then failure = failure.misuse or failure.err or 'error' end
  failure = string.gsub(tostring(failure), '^@?[%w_]+:%d+: ', '')
  failure = string.gsub(failure, ' script: %x+, on @.*$', '')
  return string.sub(failure, 1, MAX_REASON)
end

-- What Redis or `checked` says is a table; what a handler says of its event is a text, and may repeat the payload.
local function is_misuse(failure)
  if type(failure) ~= 'table' then return false end
  local why = failure.err or ''
  return failure.misuse or string.find(why, 'Wrong number of args', 1, true) or string.find(why, 'NOPERM', 1, true)
    or string.find(why, 'can\'t run this command', 1, true)
end

-- What may be logged of a failure: the code of an error of Redis, nothing of what a handler says.
local function word_of(failure)
  return type(failure) == 'table' and string.match(text_of(failure), '^%u+') or 'refused by its handler'
end

-- Commands that change the fields of a hash that they name, and nothing else; how many arguments belong to a field.
local OF_FIELDS = {HSET = 2, HSETNX = 2, HINCRBY = 2, HINCRBYFLOAT = 2}

-- Copy what the commands before the last one change: of a hash only the fields that they name, else the whole key. Answer
-- how to put it back, or an error, as of a key of another type: the first command for that key would answer the same.
local function copy()
  local keys, of_fields, old = {}, {}, {}
  for i = 1, writes - 1 do
    local from, key = ends[i - 1], queue[ends[i - 1] + 2]
    local fields = of_fields[key]
    if fields == nil then
      fields = {'HMGET', key}
      keys[#keys + 1] = key
      of_fields[key] = fields
    end
    if not OF_FIELDS[queue[from + 1]] then
      of_fields[key] = false
    elseif fields then
      for at = from + 3, ends[i], 2 do fields[#fields + 1] = queue[at] end
      if #fields > MAX_ARGUMENTS then of_fields[key] = false end
    end
  end
  for i, key in ipairs(keys) do
    local fields = of_fields[key]
    if fields then
      old[i] = redis.pcall(unpack(fields))
      if old[i].err then return nil, old[i] end
    else
      local whole = redis.pcall('DUMP', key)
      if type(whole) == 'table' then return nil, whole end
      old[i] = {whole, redis.call('PTTL', key)}
    end
  end
  return function()
    for i, key in ipairs(keys) do
      local fields = of_fields[key]
      if fields then
        -- First what was there: a hash that is empty for a moment would be gone, and with it its time to live.
        for at, value in ipairs(old[i]) do
          if value then redis.pcall('HSET', key, fields[at + 2], value) end
        end
        for at, value in ipairs(old[i]) do
          if not value then redis.pcall('HDEL', key, fields[at + 2]) end
        end
      elseif old[i][1] then
        redis.pcall('RESTORE', key, math.max(old[i][2], 0), old[i][1], 'REPLACE')
      else
        redis.pcall('DEL', key)
      end
    end
  end
end

-- Carry out what a handler has written, or nothing of it. Answer the error.
local function carry_out()
  local put_back, failure
  if writes > 1 then
    put_back, failure = copy()
    if failure then return failure end
  end
  for i = 1, writes do
    local answer = redis.pcall(unpack(queue, ends[i - 1] + 1, ends[i]))
    if type(answer) == 'table' and answer.err then
      if put_back then put_back() end
      return answer
    end
  end
  return nil
end
