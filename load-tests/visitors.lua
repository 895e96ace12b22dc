-- GET of one path by many visitors: each request comes from another address and one of some
-- agents, so that visitors are recognized and agents remembered as they are in life. The service
-- has to trust 127.0.0.1 as its proxy. With THINK_MS each connection waits so long between its
-- requests. Prints the line that `load.lua` of the redirect prints.
local think = tonumber(os.getenv("THINK_MS") or "0")
local head = "GET " .. os.getenv("LINK_PATH") .. " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: "
    .. os.getenv("BROWSER") .. " v"
local bad = 0
-- From /dev/urandom: two bursts are not to repeat each other's visitors.
local random = io.open("/dev/urandom", "rb")
local a, b, c = random:read(3):byte(1, 3)
math.randomseed(a * 65536 + b * 256 + c)

function request()
    return string.format("%s%d\r\nX-Forwarded-For: 10.%d.%d.%d\r\n\r\n", head, math.random(200),
        math.random(0, 255), math.random(0, 255), math.random(0, 255))
end

if think > 0 then
    -- In whole milliseconds, as wrk waits, and on the average as told.
    function delay() return math.floor(think + math.random()) end

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
