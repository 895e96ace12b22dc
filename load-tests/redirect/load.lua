-- GET of one path; with THINK_MS each connection waits so long between its requests, so that the
-- rate is held. Prints one line: rate, p50, p99 and maximum in microseconds, bad answers, broken.
local think = tonumber(os.getenv("THINK_MS") or "0")
local raw = "GET " .. os.getenv("LINK_PATH") .. " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: "
    .. os.getenv("BROWSER") .. "\r\n\r\n"
local bad = 0

function request() return raw end

if think > 0 then
    function delay() return think end
end

function response(status)
    if status ~= 302 then bad = bad + 1 end
end

-- Reading each answer costs the generator time: only the paced runs and the first burst look.
if think == 0 and os.getenv("CHECK") ~= "1" then response = nil end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT %.1f %d %d %d %d %d\n", summary.requests / (summary.duration / 1e6),
        latency:percentile(50), latency:percentile(99), latency.max, e.status,
        e.connect + e.read + e.write + e.timeout))
end
