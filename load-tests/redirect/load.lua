-- GET of one path, as fast as it is answered; `visitors.lua` holds a rate. Prints one line: rate, p50, p99 and
-- maximum in microseconds, bad answers, broken.
local raw = "GET " .. os.getenv("LINK_PATH") .. " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: "
    .. os.getenv("BROWSER") .. "\r\n\r\n"
local bad = 0

function request() return raw end

function response(status)
    if status ~= 302 then bad = bad + 1 end
end

-- Reading each answer costs the generator time: only the first burst looks.
if os.getenv("CHECK") ~= "1" then response = nil end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT %.1f %d %d %d %d %d\n", summary.requests / (summary.duration / 1e6),
        latency:percentile(50), latency:percentile(99), latency.max, e.status,
        e.connect + e.read + e.write + e.timeout))
end
