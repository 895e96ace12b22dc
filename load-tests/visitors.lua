-- GET of one path by many visitors: each request comes from another address and one of some
-- agents, so that visitors are recognized and agents remembered as they are in life. The service
-- has to trust 127.0.0.1 as its proxy. With RATE so many requests are sent a second: each has its
-- time, however long the answers before it took; what the server was too slow for by more than
-- BEHIND_MAX is left out, not made up for. With VISITORS there are so many; without, nearly each
-- request is of a new one. Prints the line that `load.lua` of the redirect prints.
local ffi = require("ffi")
ffi.cdef("typedef struct { long s; long ns; } moment; int clock_gettime(int, moment *);")
local CLOCK_MONOTONIC, BEHIND_MAX = 1, 100 -- milliseconds
local gap = 1000 / tonumber(os.getenv("RATE") or "0") -- milliseconds; without a rate there is none
local head = "GET " .. os.getenv("LINK_PATH") .. " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: "
    .. os.getenv("BROWSER") .. " v"
local bad = 0
-- From /dev/urandom: two bursts are not to repeat each other's visitors.
local random = io.open("/dev/urandom", "rb")
local a, b, c = random:read(3):byte(1, 3)
math.randomseed(a * 65536 + b * 256 + c)

-- A number of a visitor tells his agent and his address.
local n_visitors = tonumber(os.getenv("VISITORS") or "0")
if n_visitors == 0 then n_visitors = 200 * 2 ^ 24 end

function request()
    local n = math.random(0, n_visitors - 1)
    local address = math.floor(n / 200)
    return string.format("%s%d\r\nX-Forwarded-For: 10.%d.%d.%d\r\n\r\n", head, n % 200,
        math.floor(address / 65536), math.floor(address / 256) % 256, address % 256)
end

if gap < math.huge then
    local moment, due = ffi.new("moment"), 0

    -- wrk waits whole milliseconds, here by chance a little more or less.
    function delay()
        ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
        local now = tonumber(moment.s) * 1000 + tonumber(moment.ns) / 1e6
        due = math.max(due + gap, now - BEHIND_MAX)
        return math.max(0, math.floor(due - now + math.random()))
    end

    function response(status)
        if status ~= 302 then bad = bad + 1 end
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT %.1f %d %d %d %d %d\n", summary.requests / (summary.duration / 1e6),
        latency:percentile(50), latency:percentile(99), latency.max, e.status,
        e.connect + e.read + e.write + e.timeout))
end
