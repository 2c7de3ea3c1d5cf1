-- Keeps a projection in Redis: its read model, and what is written down of a partition, under one prefix.
-- A script is applied whole or not at all, so the position moves with the effects. Redis rolls nothing back, so nothing
-- here raises once it has written: what failed is recorded, and answered.
--
-- KEYS[1] is the prefix. Under it:
--   :state            hash   who owns the partition, and how far it is
--   :applied:O:N      bits   one for each seq of origin O from N * 8192 on
--   :newest           hash   of each such chunk the latest time of creation
--   :parked           zset   numbers of parked events, in their order
--   :parked:N         hash   one of them
--   :parked_keys      hash   of each key how many are parked; '' for events without a key, NUL for the empty key
--   :wanted           set    numbers of which an operator wants something
-- ARGV[1] says what to do; all numbers travel as texts, since Lua has only doubles. commands.lua and batch.lua are put in
-- where their names stand.

-- A handler sees nothing of what is below: a name that it forgets to make local could be one of ours. Nor may it go around
-- `write`: what it wrote by itself would stay if its event is refused.
local make_handlers = function(redis, server, KEYS, ARGV)
  return {
--HANDLERS--
  }
end

local function none(name)
  local function refuse() error({misuse = name .. ' cannot be used here: call read and write'}) end
  return setmetatable({}, {__index = refuse, __newindex = refuse})
end

local handlers = make_handlers(none('redis'), none('server'), none('KEYS'), none('ARGV'))

local prefix = KEYS[1]
local state, newest = prefix .. ':state', prefix .. ':newest'
local parked, parked_keys, wanted = prefix .. ':parked', prefix .. ':parked_keys', prefix .. ':wanted'
--LIMITS--

--COMMANDS--
--BATCH--

local function now_ms()
  local time = redis.call('TIME')
  return string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
end

local function until_ms(lease_ms)
  return string.format('%.0f', tonumber(now_ms()) + tonumber(lease_ms))
end

local function is_mine(epoch, owner)
  local found = redis.call('HMGET', state, 'epoch', 'owner', 'paused', 'status')
  return found[1] == epoch and found[2] == owner and found[3] ~= '1' and found[4] ~= 'stopped'
end

local function progress()
  local found = redis.call('HMGET', state, 'epoch', 'position', 'time_ns', 'created', 'has_bits', 'crashes')
  found[6] = found[6] or '0'
  return found
end

-- Whether one more event would be too much, as rules/refusals.py counts, which also says why.
local function is_too_much(in_a_row, new_key)
  local keyless = tonumber(redis.call('HGET', parked_keys, '') or 0)
  local keys = redis.call('HLEN', parked_keys) + (keyless > 0 and keyless - 1 or 0) + new_key
  return in_a_row >= MAX_STREAK or keys > MAX_KEYS or redis.call('ZCARD', parked) >= MAX_EVENTS
end

-- No other key is a NUL alone: a key that holds one is changed before it comes here.
local function field_of(key)
  if not key then return '' end
  return key == '' and '\0' or key
end

local function park(h, i, reason)
  local number = redis.call('HINCRBY', state, 'parked_number', 1)
  local key, seq, now = h.key[i], h.seq[i], now_ms()
  redis.call('ZADD', parked, number, number)
  redis.call('HINCRBY', parked_keys, field_of(key), 1)
  local row = prefix .. ':parked:' .. number
  redis.call('HSET', row, 'created', h.created, 'stream_seq', h.stream_seq[i], 'time_ns', h.time_ns[i], 'subject',
    h.topic[i], 'headers', headers_of(h, i), 'payload', payload_of(h, i), 'reason', reason or '', 'parked_at', now)
  if reason then redis.call('HSET', row, 'refusals', 1, 'refused_at', now) end
  if key then redis.call('HSET', row, 'key', key) end
  if seq then redis.call('HSET', row, 'seq', seq) end
end

local function unpark(number, key)
  redis.call('ZREM', parked, number)
  redis.call('SREM', wanted, number)
  redis.call('DEL', prefix .. ':parked:' .. number)
  if redis.call('HINCRBY', parked_keys, field_of(key), -1) <= 0 then redis.call('HDEL', parked_keys, field_of(key)) end
end

-- Note in the bits that an event is settled. A seq may be more than a double holds exactly. Its place in its chunk follows
-- from its last 13 digits, since 10^13 is a multiple of 8192. The number of the chunk is off by an eighth at most, so it is
-- rounded. Redis counts the bits of a byte from the highest.
local function set_bit(h, i)
  local seq = h.seq[i]
  local at = tonumber(string.sub(seq, -13)) % 8192
  local chunk = string.format('%.0f', math.floor((tonumber(seq) - at) / 8192 + 0.5))
  local origin = h.origin or h.origins[i]
  redis.call('SETBIT', prefix .. ':applied:' .. origin .. ':' .. chunk, at - at % 8 + 7 - at % 8, 1)
end

local ops = {}

function ops.prepare(stream, version, fingerprint, partitions)
  local found = redis.call('HMGET', state, 'version', 'fingerprint', 'partitions', 'stream')
  if not found[1] then
    redis.call('HSET', state, 'stream', stream, 'version', version, 'fingerprint', fingerprint, 'partitions', partitions,
      'epoch', 0, 'owner', '', 'lease_until', 0, 'position', 0, 'time_ns', '', 'created', '', 'has_bits', 1, 'applied', 0,
      'repeats', 0, 'crashes', 0, 'status', 'new', 'error', '', 'gap_last', '', 'paused', 0, 'updated_at', now_ms())
    return {version, fingerprint, partitions, stream}
  end
  if found[1] == version and found[3] == partitions and found[4] == stream then redis.call('HSET', state, 'fingerprint', fingerprint) end
  return found
end

function ops.claim(owner, lease_ms)
  local found = redis.call('HMGET', state, 'owner', 'lease_until', 'paused', 'status')
  if not found[2] then return 'lost' end
  if found[3] == '1' or found[4] == 'stopped' then return false end
  if found[1] ~= '' and tonumber(found[2]) > tonumber(now_ms()) then return false end
  if found[1] ~= '' then redis.call('HINCRBY', state, 'crashes', 1) end
  redis.call('HINCRBY', state, 'epoch', 1)
  redis.call('HSET', state, 'owner', owner, 'lease_until', until_ms(lease_ms))
  return progress()
end

function ops.load(epoch, owner)
  return is_mine(epoch, owner) and progress()
end

function ops.beat(epoch, owner, lease_ms, status, why)
  if not is_mine(epoch, owner) then return false end
  redis.call('HSET', state, 'lease_until', until_ms(lease_ms), 'status', status, 'error', why)
  return redis.call('SCARD', wanted)
end

function ops.no_crashes(epoch, owner)
  if is_mine(epoch, owner) then redis.call('HSET', state, 'crashes', 0) end
  return 1
end

-- Everything of an origin up to a seq is settled here; of one origin it never falls.
function ops.complete(epoch, owner, origin, seq, at)
  if not is_mine(epoch, owner) then return false end
  local found = redis.call('HMGET', state, 'complete_origin', 'complete_seq', 'complete_up_to')
  if found[1] == origin and tonumber(found[2]) > tonumber(seq) then seq = found[2] end
  if at == '' or (found[3] and tonumber(found[3] ~= '' and found[3] or 0) > tonumber(at)) then at = found[3] or '' end
  redis.call('HSET', state, 'complete_origin', origin, 'complete_seq', seq, 'complete_up_to', at)
  return 1
end

function ops.stop(epoch, owner, reason, gap_last)
  if not is_mine(epoch, owner) then return false end
  redis.call('HSET', state, 'status', 'stopped', 'error', reason, 'gap_last', gap_last, 'owner', '', 'lease_until', 0,
    'updated_at', now_ms())
  return 1
end

function ops.release(epoch, owner)
  local found = redis.call('HMGET', state, 'epoch', 'owner')
  if found[1] == epoch and found[2] == owner then redis.call('HSET', state, 'owner', '', 'lease_until', 0) end
  return 1
end

-- The owner has provably ended: its lease is over. It stays the owner, so that the next claim counts a crash.
function ops.expire(owner)
  if redis.call('HGET', state, 'owner') == owner then redis.call('HSET', state, 'lease_until', 0) end
  return 1
end

function ops.follow(epoch, owner, previous, created, position, time_ns)
  if not is_mine(epoch, owner) or redis.call('HGET', state, 'position') ~= previous then return false end
  redis.call('HSET', state, 'created', created, 'position', position, 'time_ns', time_ns, 'status', 'running', 'error', '')
  return 1
end

-- Apply a batch. Answer what halted it, and why; and for each event that was not applied, the one that halted it
-- included, its place and a word that may be logged, empty if it only waits behind another one.
function ops.apply(header)
  local h = batch_of(header)
  if not is_mine(h.epoch, h.owner) or redis.call('HGET', state, 'position') ~= h.previous then return false end
  -- The first write: if Redis is out of memory it raises here, before anything has changed.
  redis.call('HSET', state, 'lease_until', until_ms(h.lease_ms), 'updated_at', now_ms())
  local any_parked = redis.call('EXISTS', parked_keys) == 1
  local streak, in_a_row = {}, h.in_a_row
  for _, key in ipairs(h.streak) do streak[key] = true end
  local done, applied, halted, why, answers, now = 0, 0, '', '', {}, now_ms()
  for i = 1, #h.length do
    local key = h.key[i]
    local is_behind = any_parked and key and redis.call('HEXISTS', parked_keys, field_of(key)) == 1
    if is_behind then
      answers[#answers + 1] = i
      answers[#answers + 1] = ''
      if is_too_much(0, 0) then halted = 'full' break end
      park(h, i, nil)
    else
      local failure = apply_event(h, i, now)
      if failure == nil then
        applied = applied + 1
        if in_a_row > 0 then streak, in_a_row = {}, 0 end
      elseif is_misuse(failure) then
        halted, why = 'misuse', text_of(failure)
        break
      else
        answers[#answers + 1] = i
        answers[#answers + 1] = word_of(failure)
        if h.policy == 'stop' then
          halted = 'refused'
          break
        elseif h.policy == 'park' then
          if not key or not streak[key] then in_a_row = in_a_row + 1 end
          if key then streak[key] = true end
          if is_too_much(in_a_row, 1) then halted = 'full' break end
          park(h, i, text_of(failure))
          any_parked = true
        end
      end
    end
    done = i
  end
  -- Behind the texts come the names of whole chunks, each with its bits once all of the batch is settled.
  local chunks = #h.texts + 4
  if halted == '' and #ARGV >= chunks then
    for i = chunks, #ARGV, 2 do redis.call('SET', prefix .. ':applied:' .. ARGV[i], ARGV[i + 1]) end
  else
    for i = 1, done do
      if h.seq[i] then set_bit(h, i) end
    end
  end
  for chunk, at in pairs(h.newest) do redis.call('HSET', newest, chunk, at) end
  if halted == '' then
    redis.call('HSET', state, 'position', h.position, 'time_ns', h.position_time_ns)
  elseif done > 0 then
    redis.call('HSET', state, 'position', h.stream_seq[done], 'time_ns', h.time_ns[done])
  end
  redis.call('HINCRBY', state, 'applied', applied)
  if halted == '' then
    redis.call('HINCRBY', state, 'repeats', h.repeats)
    redis.call('HSET', state, 'status', 'running', 'error', '', 'gap_last', '')
  end
  if not h.numbered then redis.call('HSET', state, 'has_bits', 0) end
  return {halted, why, unpack(answers)}
end

-- Retry or skip parked events of one key, in their order, until one is refused. Answer how many were applied, how many
-- were given up, and of the one that was refused again its place and a word that may be logged.
function ops.want(header)
  local h = batch_of(header)
  if not is_mine(h.epoch, h.owner) or redis.call('HGET', state, 'position') ~= h.previous then return false end
  redis.call('HSET', state, 'lease_until', until_ms(h.lease_ms))
  local applied, skipped = 0, 0
  for i, number in ipairs(h.number) do
    local failure = nil
    local is_applied = h.wanted[i] ~= 'skip'
    if is_applied then failure = apply_event(h, i, now_ms()) end
    if failure then
      local row = prefix .. ':parked:' .. number
      redis.call('HSET', row, 'reason', text_of(failure), 'refused_at', now_ms())
      redis.call('HINCRBY', row, 'refusals', 1)
      redis.call('HDEL', row, 'wanted')
      redis.call('SREM', wanted, number)
      return {applied, skipped, i, word_of(failure)}
    end
    if is_applied then
      redis.call('HINCRBY', state, 'applied', 1)
      applied = applied + 1
    else
      skipped = skipped + 1
    end
    unpark(number, h.key[i])
  end
  return {applied, skipped}
end

-- What comes behind the header of a batch is read where it is needed.
local last = (ARGV[1] == 'apply' or ARGV[1] == 'want') and 2 or #ARGV
-- NaN, Infinity and 0x10 are no JSON, as in PostgreSQL; other scripts of this server keep what they have set.
local was = cjson.decode_invalid_numbers()
cjson.decode_invalid_numbers(false)
local good, answer = pcall(ops[ARGV[1]], unpack(ARGV, 2, last))
cjson.decode_invalid_numbers(was)
if not good then error(answer, 0) end
return answer
