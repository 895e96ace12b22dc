-- Sends the raw requests of a file, each once and in order; begins again at its end.
-- With FILE unset it sends GET PATH all the time, at the same cost to the generator.
local requests, next_one, statuses = {}, 0, {}

function init(args)
    local file = os.getenv("FILE")
    if not file then
        requests[1] = "GET " .. os.getenv("LINK_PATH") .. " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: "
            .. os.getenv("BROWSER") .. "\r\n\r\n"
        return
    end
    local input = assert(io.open(file, "rb"))
    input:seek("set", tonumber(os.getenv("OFFSET") or "0"))
    for _ = 1, tonumber(os.getenv("COUNT")) do
        local length = input:read(8)
        if not length then break end
        requests[#requests + 1] = input:read(tonumber(length))
    end
    input:close()
end

function request()
    next_one = next_one % #requests + 1
    return requests[next_one]
end

function done(summary, _, _)
    local e = summary.errors
    io.write(string.format("RESULT %.1f %d %d\n", summary.requests / (summary.duration / 1e6),
        e.status, e.connect + e.read + e.write + e.timeout))
end
