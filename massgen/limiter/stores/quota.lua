-- One step of the quotas of one key, for Redis 5+ and Valkey: the rules of massgen.quotas over all dimensions at once.
-- KEYS: state, calls, minute, spend, owners, waiters. ARGV[1]: the step as JSON; times are microseconds by the server's clock.
-- The verbs `live` (a sign of life) and `leave` (this process's calls are over) are the owner's; the others the step's.
-- Returns JSON: {sharers} and what the step answers; {zone} where the server's day is not among the step's `days`.
local state_key, calls_key, owners_key, waiters_key = KEYS[1], KEYS[2], KEYS[5], KEYS[6]
local windows = { minute = KEYS[3], spend = KEYS[4] }
local step = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function whole(number) return string.format('%.0f', number) end
local function plus(total, vector, sign)
  for i = 1, 5 do total[i] = total[i] + sign * vector[i] end
end

-- The day of the server's clock, and when it ends.
local day, ends
for i = 1, #step.days - 1 do
  if step.days[i] <= now and now < step.days[i + 1] then day, ends = step.days[i], step.days[i + 1] end
end
if not day then return cjson.encode({ zone = whole(now) }) end

-- The account: totals by meter, the hold, the day it counts.
local function zeros() return { 0, 0, 0, 0, 0 } end
local saved = redis.call('GET', state_key)
local account = saved and cmsgpack.unpack(saved) or {
  minute = zeros(), spend = zeros(), sent = zeros(), running = zeros(), day = zeros(),
  held = 0, why = '', today = day, latest = 0,
}

-- A server's clock that was set back: what seems to be of the future is of now.
if now < account.latest - 1000000 then
  for _, key in ipairs({ windows.minute, windows.spend, owners_key }) do
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. whole(now), '+inf')) do
      redis.call('ZADD', key, whole(now), member)
    end
  end
  redis.call('DEL', waiters_key)
  account.held = account.held - account.latest + now
end

-- A call that is not over: {ticket, owner, at (0: not acknowledged), spent, day, vector}; an event: {ticket, vector}.
local function load(ticket)
  local text = redis.call('HGET', calls_key, ticket)
  return text and cmsgpack.unpack(text)
end
local function store(call) redis.call('HSET', calls_key, call.ticket, cmsgpack.pack(call)) end
local function meters(call) return call.spent and { 'minute', 'spend' } or { 'minute' } end
local function log(meter, at, ticket, vector)
  redis.call('ZADD', windows[meter], whole(at), cmsgpack.pack({ ticket, vector }))
end

local function acked(ticket, at)
  local call = load(ticket)
  if not call or call.at > 0 then return call end
  call.at, call.day = at, account.today
  plus(account.sent, call.vector, -1)
  for _, meter in ipairs(meters(call)) do log(meter, at, ticket, call.vector) end
  return call
end
local function over(call)
  plus(account.running, call.vector, -1)
  redis.call('HDEL', calls_key, call.ticket)
end
local function finish(ticket, actual, at)
  local call = acked(ticket, at)
  if not call then return end
  over(call)
  if not actual then return end
  for _, meter in ipairs(meters(call)) do
    if redis.call('ZREM', windows[meter], cmsgpack.pack({ ticket, call.vector })) == 1 then
      log(meter, call.at, ticket, actual)
      plus(account[meter], call.vector, -1)
      plus(account[meter], actual, 1)
    end
  end
  if call.day >= account.today then
    plus(account.day, call.vector, -1)
    plus(account.day, actual, 1)
  end
end
local function release(ticket)
  local call = load(ticket)
  if not call or call.at > 0 then return finish(ticket, nil, now) end
  over(call)
  for _, meter in ipairs({ 'sent', 'day', unpack(meters(call)) }) do plus(account[meter], call.vector, -1) end
end
local function count()
  if redis.call('HEXISTS', calls_key, step.ticket) == 1 then return end
  local call = {
    ticket = step.ticket, owner = step.owner, at = 0, spent = step.spent, day = account.today, vector = step.vector,
  }
  store(call)
  for _, meter in ipairs({ 'sent', 'running', 'day', unpack(meters(call)) }) do plus(account[meter], call.vector, 1) end
end

-- The living; the calls of the dead count as acknowledged when their lease ended.
local dead = redis.call('ZRANGEBYSCORE', owners_key, '-inf', '(' .. whole(now - step.lease), 'WITHSCORES')
redis.call('ZADD', owners_key, whole(now), step.owner)
if #dead > 0 then
  local seen = {}
  for i = 1, #dead, 2 do seen[dead[i]] = tonumber(dead[i + 1]) end
  seen[step.owner] = nil
  for _, text in ipairs(redis.call('HVALS', calls_key)) do
    local call = cmsgpack.unpack(text)
    if seen[call.owner] then finish(call.ticket, nil, seen[call.owner] + step.lease) end
  end
  redis.call('ZREMRANGEBYSCORE', owners_key, '-inf', whole(now - step.lost))
end

-- What has left, and the day.
for meter, key in pairs(windows) do
  if account[meter][1] > 0 then
    local bound = whole(now - step[meter])
    local left = redis.call('ZRANGEBYSCORE', key, '-inf', bound)
    for _, event in ipairs(left) do plus(account[meter], cmsgpack.unpack(event)[2], -1) end
    if #left > 0 then redis.call('ZREMRANGEBYSCORE', key, '-inf', bound) end
  end
end
if day > account.today then
  account.day, account.today = zeros(), day
  plus(account.day, account.sent, 1)
end

-- Who waits, the first in turn first; what those ask for that come before this one.
local function queue()
  local list = {}
  for _, text in ipairs(redis.call('HVALS', waiters_key)) do
    local waiter = cmsgpack.unpack(text)
    if waiter.until_ < now then redis.call('HDEL', waiters_key, waiter.owner) else list[#list + 1] = waiter end
  end
  table.sort(list, function(a, b) return a.since < b.since or (a.since == b.since and a.owner < b.owner) end)
  return list
end
local function ahead(list)
  local total = zeros()
  for _, waiter in ipairs(list) do
    if waiter.owner == step.owner then return total, waiter end
    plus(total, waiter.vector, 1)
  end
  return total, nil
end

local function leaves(meter, column, excess)
  if meter == 'day' then return ends - now end
  if not windows[meter] then return nil end
  local from = 0
  while true do
    local events = redis.call('ZRANGE', windows[meter], from, from + 99, 'WITHSCORES')
    for i = 1, #events, 2 do
      excess = excess - cmsgpack.unpack(events[i])[2][column]
      if excess <= 0 then return tonumber(events[i + 1]) + step[meter] - now end
    end
    if #events == 0 then return nil end
    from = from + 100
  end
end
local function others()
  for _, text in ipairs(redis.call('HVALS', calls_key)) do
    if cmsgpack.unpack(text).owner ~= step.owner then return true end
  end
  return false
end

-- Why the call must wait, the longest first: {dimension, used, limit, wait or false}.
local function check()
  local before, mine = ahead(queue())
  local blocked
  local function longer(name, used, limit, wait)
    if not blocked or (blocked[4] and (not wait or wait > blocked[4])) then
      blocked = { name, used, limit, wait or false }
    end
  end
  for _, rule in ipairs(step.rules) do
    local name, limit, meter, column = unpack(rule)
    local used = account[meter][column]
    local excess = used + before[column] + step.vector[column] - limit
    if excess > 0 then longer(name, used, limit, leaves(meter, column, excess)) end
  end
  if account.held > now then longer(account.why, 0, 0, account.held - now) end
  if not blocked then
    if mine then redis.call('HDEL', waiters_key, step.owner) end
    return nil
  end
  if not blocked[4] and (before[1] > 0 or others()) then blocked[4] = step.soon end
  local waiter = { owner = step.owner, since = mine and mine.since or now, until_ = now + step.turn, vector = step.vector }
  redis.call('HSET', waiters_key, step.owner, cmsgpack.pack(waiter))
  return blocked
end

local answer = { sharers = redis.call('ZCARD', owners_key) }
local at = now - step.ago
if step.verb == 'reserve' then
  answer.blocked = redis.call('HEXISTS', calls_key, step.ticket) == 0 and check() or nil
  if not answer.blocked then count() end
elseif step.verb == 'count' then
  count()
elseif step.verb == 'acked' then
  local call = acked(step.ticket, at)
  if call then store(call) end
elseif step.verb == 'finish' then
  finish(step.ticket, step.vector, at)
elseif step.verb == 'release' then
  release(step.ticket)
elseif step.verb == 'hold' then
  if at + step.seconds > account.held then account.held, account.why = at + step.seconds, step.dimension end
elseif step.verb == 'leave' then
  for _, text in ipairs(redis.call('HVALS', calls_key)) do
    local call = cmsgpack.unpack(text)
    if call.owner == step.owner then finish(call.ticket, nil, now) end
  end
  redis.call('ZREM', owners_key, step.owner)
  redis.call('HDEL', waiters_key, step.owner)
elseif step.verb == 'use' then
  answer.use = {}
  for _, rule in ipairs(step.rules) do answer.use[rule[1]] = account[rule[3]][rule[4]] end
end

account.latest = now
redis.call('SET', state_key, cmsgpack.pack(account), 'PX', step.keep)
if step.verb == 'reserve' then
  for i = 2, #KEYS do redis.call('PEXPIRE', KEYS[i], step.keep) end
end
return cjson.encode(answer)
