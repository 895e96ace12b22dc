#!/usr/bin/env python3
"""Prototype of the proposed detector (numpy only). The product's own copy is crates/decline/.

  prototype.py --seed public-1            table line, as peers.py prints
  prototype.py --data DIR --out DIR2      reads series.csv + partners.csv, writes flags.csv and states.csv
"""
import argparse, csv, os, time
import numpy as np
NEG = -np.inf
WIN = (2, 3, 4, 5, 7, 10, 14, 21, 28, 42, 56, 84, 112)
BASE = (8, 16, 26)                 # baseline lengths in weeks
TAIL = ((.5, .25), (1., .45), (2., .27), (4., .03))   # psi multipliers and weights: own noise is itself uncertain
K = dict(min_age=42, cap_z=.9, dow_c=60., fresh=10, minweeks=3, need=400., nu0=2., psi_hl=150., guard=28, g_lo=.5, hol=.3,
         ratio_max=.85, hazard=1 / 700, clump=.3, g_trim=-2.2, sil_base=182, sil_pen=0., psi_floor=.002, now_max=.75, z_min=1.5, sev_k=.5, every=1, psi_lo=.15, psi_up=.6)


# ---- special functions: lgamma and the regularized incomplete beta, vectorised
def lgam(x):
    x = np.asarray(x, float); g = np.zeros_like(x); z = x.copy(); s = z < 9
    for _ in range(9):
        g = np.where(z < 9, g - np.log(np.maximum(z, 1e-300)), g); z = np.where(z < 9, z + 1, z)
    i = 1 / z
    return g + (z - .5) * np.log(z) - z + .9189385332046727 + i / 12 - i ** 3 / 360 + i ** 5 / 1260


def betainc(a, b, x, it=80):
    """I_x(a,b) by the continued fraction; returns log10"""
    fl = x > (a + 1) / (a + b + 2)
    A, B, X = np.where(fl, b, a), np.where(fl, a, b), np.where(fl, 1 - x, x)
    fr = lgam(A + B) - lgam(A) - lgam(B) + A * np.log(X) + B * np.log1p(-X) - np.log(A)
    t = 1e-300; c = np.ones_like(X); d = 1 - (A + B) * X / (A + 1); d = 1 / np.where(np.abs(d) < t, t, d); h = d.copy()
    for m in range(1, it):
        q = m * (B - m) * X / ((A + 2 * m - 1) * (A + 2 * m))
        d = 1 / np.where(np.abs(1 + q * d) < t, t, 1 + q * d); c = 1 + q / c; c = np.where(np.abs(c) < t, t, c); h *= d * c
        q = -(A + m) * (A + B + m) * X / ((A + 2 * m) * (A + 2 * m + 1))
        d = 1 / np.where(np.abs(1 + q * d) < t, t, 1 + q * d); c = 1 + q / c; c = np.where(np.abs(c) < t, t, c); e = d * c; h *= e
        if np.all(np.abs(e - 1) < 1e-9): break
    l = fr + np.log(np.maximum(h, 1e-300))
    out = np.where(fl, np.log1p(-np.minimum(np.exp(np.minimum(l, 0)), 1 - 1e-15)), l)
    return out / np.log(10)


def nb_cdf_log10(s, e, r):
    """log10 P(X <= s), X negative binomial with mean e and size r (s may be fractional)"""
    return betainc(r, s + 1., r / (r + e))


def wmedian(x, w):
    o = np.argsort(x); c = np.cumsum(w[o]); return x[o][np.searchsorted(c, c[-1] / 2)]


def parse_off(s, D):
    m = np.zeros(D, bool)
    for p in filter(None, (s or "").split(";")):
        a, b = map(int, p.split("-")); m[a:b + 1] = True
    return m


def detect(y, join, off=None, k=K, start=60):
    """y[P,D] daily counts. Day t uses only days <= t."""
    y = y.astype(float); P, D = y.shape; I = np.arange(P)
    ystar = np.zeros((P, D)); X = np.zeros((P, D)); g = np.ones(D); okd = np.ones((P, D), bool)
    days = np.arange(D)
    okd &= days[None, :] >= (join + k["fresh"])[:, None]
    if off is not None: okd &= ~off
    dowS = np.zeros((P, 7)); dowX = np.zeros((P, 7)); lev = np.zeros(P); relv = np.full(P, .2)
    CY = np.zeros((P, D + 1)); CX = np.zeros((P, D + 1)); CN = np.zeros((P, D + 1)); CH = np.zeros((P, D + 1))
    S = np.full((P, D), NEG); base = np.zeros((P, D)); obs = np.zeros((P, D)); since = np.zeros((P, D), int)
    ratio = np.ones((P, D)); wk = np.zeros((P, 0)); CR = np.zeros((P, D + 1))
    tab = {}                                     # week -> (rate, clicks, weeks) of the robust baseline ending with it
    nweek = D // 7 + 1; WR = np.full((P, nweek), np.nan); WC = np.zeros((P, nweek))
    dec = .5 ** (1 / k["psi_hl"])
    for t in range(D):
        q = t % 7
        # weekday weight, shrunk to flat by dow_c pseudo-clicks (prior = network profile)
        prof = dowS.sum(0) / np.maximum(dowX.sum(0), 1e-9) if t >= 28 else np.ones(7)
        prof = prof / prof.mean() if prof.mean() > 0 else np.ones(7)
        tot = dowS.sum(1); mean = tot / np.maximum(dowX.sum(1), 1e-9)
        w = (dowS[:, q] + k["dow_c"] / 7 * prof[q]) / (dowX[:, q] * mean + k["dow_c"] / 7) if t >= 28 else np.ones(P)
        w = np.where(mean > 0, np.clip(w, .02, 6), prof[q])
        # robust level: median of the last 8 weekly totals of net-corrected clicks, mean without the best week when sparse
        e = lev * w
        # network factor of the day: the same mean baseline above and below the line, or it drifts
        a0 = max(0, t - 56); bx = CX[:, t] - CX[:, a0]; em = (CY[:, t] - CY[:, a0]) / np.maximum(bx, 1e-9) * w
        big = okd[:, t] & (bx > 14) & (em >= 1)
        if big.sum() >= 20 and t >= 35:
            em_, yb, rv = em[big], y[big, t], relv[big]; wt = 1 / (1 + rv * em_)
            gg = max(.02, wmedian(yb / em_, wt * em_))
            lb_, sp = (lev * w)[big], np.where((lev[big] > 0) & (t >= 21), 0., np.inf)
            for _ in range(3):                  # the numerator is capped exactly as the baseline was
                sd = np.sqrt(gg * em_ + rv * (gg * em_) ** 2); keep = (yb - gg * em_) > k["g_trim"] * sd; m_ = lb_ * gg
                cy = np.minimum(yb, m_ + k["cap_z"] * np.sqrt(m_ + rv * m_ * m_) + 2 + sp)
                gg = max(.02, (wt * cy)[keep].sum() / (wt * em_)[keep].sum())
            g[t] = min(gg, 5)
        elif t >= 35:
            b = okd[:, t] & (e > 0); cap = np.minimum(y[b, t], 3 * e[b] + 3); g[t] = np.clip((cap.sum() + 50) / (e[b].sum() + 50), .01, 5)
        use = okd[:, t] & (g[t] >= k["g_lo"])
        m = e * g[t]
        cap = np.where((lev > 0) & (t >= 21), m + k["cap_z"] * np.sqrt(m + relv * m * m) + 2, np.inf)
        ystar[:, t] = np.where(use, np.minimum(y[:, t], cap), 0); X[:, t] = np.where(use, w * g[t], 0)
        CY[:, t + 1] = CY[:, t] + ystar[:, t]; CX[:, t + 1] = CX[:, t] + X[:, t]; CN[:, t + 1] = CN[:, t] + use
        CH[:, t + 1] = CH[:, t] + X[:, t] * min(abs(np.log(g[t])), 1.) ** 2
        dk = .5 ** (1 / 56.)
        dowS *= dk; dowX *= dk
        dowS[use, q] += ystar[use, t] / g[t]; dowX[use, q] += 1
        CR[:, t + 1] = CR[:, t] + np.where(use, y[:, t], 0)
        if t % 7 == 6:
            j = t // 7
            if j >= 4:                          # a young partner's first weeks were not capped: do it now
                yg = np.where((t - join >= 35) & (t - join < 42) | ((j == 5) & (join == 0)))[0] if j >= 5 else []
                for i in yg:
                    a = max(0, join[i]); m_ = lev[i] * X[i, a:t + 1]
                    if lev[i] > 0:
                        ystar[i, a:t + 1] = np.minimum(ystar[i, a:t + 1], m_ + k["cap_z"] * np.sqrt(m_ + relv[i] * m_ * m_) + 2)
                        CY[i, a + 1:t + 2] = CY[i, a] + np.cumsum(ystar[i, a:t + 1])
                        for q_ in range(a // 7, j):
                            xx = CX[i, 7 * q_ + 7] - CX[i, 7 * q_]
                            if xx > 2: WC[i, q_] = CY[i, 7 * q_ + 7] - CY[i, 7 * q_]; WR[i, q_] = WC[i, q_] / xx
            ny = (CY[:, t + 1] - CY[:, t - 6]); nx = CX[:, t + 1] - CX[:, t - 6]
            WR[:, j] = np.where(nx > 2, ny / np.maximum(nx, 1e-9), np.nan); WC[:, j] = np.where(nx > 2, ny, 0)
            with np.errstate(all="ignore"):
                w8 = WR[:, max(0, j - 7):j + 1]; cnt = np.isfinite(w8).sum(1); med = np.nanmedian(w8, 1); srt = np.nansum(w8, 1) - np.nanmax(w8, 1)
            lev = np.where(cnt == 0, lev, np.where(med * 7 >= 7, med, np.where(cnt > 1, np.maximum(srt / np.maximum(cnt - 1, 1), .02), np.nan_to_num(med))))
            rate_, cnt_, wks_ = np.zeros(P), np.zeros(P), np.zeros(P); done = np.zeros(P, bool)
            for B in BASE:
                z = WR[:, max(0, j + 1 - B):j + 1]; fin = np.isfinite(z); n_ = fin.sum(1); cc = WC[:, max(0, j + 1 - B):j + 1].sum(1)
                so_ = np.sort(np.where(fin, z, np.inf), 1); cut = n_ // 4; top = np.where(n_ < 8, n_ // 2, cut); bot = np.where(n_ < 8, 0, cut); ix = np.arange(z.shape[1])[None, :]
                inn = (ix >= bot[:, None]) & (ix < (n_ - top)[:, None])
                mid = np.where(inn, np.where(np.isfinite(so_), so_, 0), 0).sum(1) / np.maximum(inn.sum(1), 1)
                mean_ = (np.where(fin, z, 0).sum(1) - np.where(n_ >= 4, np.where(fin, z, 0).max(1), 0)) / np.maximum(n_ - (n_ >= 4), 1)
                r_ = np.where(mid * 7 >= 4, mid, mean_); take = ~done
                rate_ = np.where(take, r_, rate_); cnt_ = np.where(take, cc, cnt_); wks_ = np.where(take, n_, wks_)
                done |= cc >= k["need"]
            tab[j] = (rate_, cnt_, wks_)
            # daily relative variance for the cap (robust, from the last 56 days)
            a = max(0, t - 55); mm = lev[:, None] * X[:, a:t + 1]
            with np.errstate(all="ignore"):
                dv = np.where(mm > .5, (np.minimum(y[:, a:t + 1], 2.5 * mm + 2) - mm) ** 2 - mm, np.nan)
                rv = np.nansum(dv, 1) / np.nansum(np.where(mm > .5, mm * mm, np.nan), 1)
            relv = np.clip(np.where(np.isfinite(rv), .7 * relv + .3 * rv, relv), .03, .6)
    # ---- windows, all days of one window length at a time (day t still uses days <= t only)
    ts = np.arange(start, D); nT = len(ts); best = np.zeros((P, nT)); bl = np.zeros((P, nT)); br = np.ones((P, nT)); bs = np.zeros((P, nT), int)
    seva = np.ones((P, nT)); wk_ = sorted(tab); tr = np.zeros((P, D // 7 + 2)); tc = np.zeros_like(tr); tw = np.zeros_like(tr)
    for j in wk_: tr[:, j + 1], tc[:, j + 1], tw[:, j + 1] = tab[j]
    psi0o = []
    for n in WIN:
        lo = ts + 1 - n; jb = np.maximum(lo // 7, 0); v = lo >= 28
        rate, bc, bw = tr[:, jb], tc[:, jb], tw[:, jb]
        lo = np.maximum(lo, 0)
        so, xn, nn, ch = (C[:, ts + 1] - C[:, lo] for C in (CY, CX, CN, CH))
        a_ = .8 * bc + .5; rate = np.maximum(rate, .5 / np.maximum(7 * bw, 1)); E = rate * xn
        ok = v[None, :] & (bw >= np.clip(n / 10.5, k["minweeks"], 6)) & (nn >= .6 * n) & (xn > 0) & (E > 0); E = np.where(ok, E, 1e-9)
        noise = 1 / E + 1 / a_; res = np.clip((so - E) / E, -1, 1) ** 2 - np.minimum(noise, 1.); dly = n + k["guard"]
        psi = np.zeros((P, nT)); An = np.zeros(P); Wn = np.zeros(P); p0 = .05; wg = np.zeros((P, nT))
        for q in range(nT):
            wg[:, q] = np.where(ok[:, q] & (E[:, q] > .3), (p0 / (p0 + noise[:, q])) ** 2, 0) / n
            An *= dec; Wn *= dec; u = q - dly
            if u >= 0: An += wg[:, u] * res[:, u]; Wn += wg[:, u]
            if q % 7 == 0 and u >= 7:
                z = Wn > 1e-3
                if z.sum() >= 30: p0 = max(k["psi_floor"], .5 * p0 + .5 * k["psi_up"] * max(0, wmedian(An[z] / Wn[z], np.minimum(Wn[z], 3))))
            psi[:, q] = np.maximum((k["nu0"] * p0 + An) / (k["nu0"] + Wn), k["psi_lo"] * p0)
        psi0o.append(p0)
        hv = (k["hol"] ** 2) * ch / np.maximum(xn, 1e-9) / max(1, min(n, 5)) ** .5
        rat = so / E; c_ = ok & (rat < k["ratio_max"]) & (E > .5) & (ts % k["every"] == 0)[None, :]
        for m_ in (3, 7, 14, 28):               # still low now, on raw clicks
            if m_ > n: break
            em_ = rate * (CX[:, ts + 1] - CX[:, ts + 1 - m_]); c_ &= (em_ < 8) | (CR[:, ts + 1] - CR[:, ts + 1 - m_] <= k["now_max"] * em_)
        c_ &= (E - so) > k["z_min"] * np.sqrt(E + E * E * (1 / a_ + psi + hv))   # only to save time
        if not c_.any(): continue
        s_, e_, i_, p_, h_ = so[c_], E[c_], 1 / a_[c_], psi[c_], hv[c_]; pt = np.zeros(len(s_))
        for mul, w_ in TAIL: pt += w_ * 10. ** nb_cdf_log10(s_, e_, 1 / (i_ + mul * p_ + h_))
        lp = np.zeros((P, nT)); lp[c_] = -np.log10(np.maximum(pt, 1e-300))
        up = lp > best
        best[up] = lp[up]; bl[up] = rate[up]; br[up] = rat[up]; bs[up] = np.broadcast_to(lo, (P, nT))[up]
        seva[up] = ((so + k["sev_k"]) / (E + k["sev_k"]))[up]
    # ---- silence of sparse partners, on days with a click (immune to several clicks from one visitor): beta-geometric
    act = (y > 0) & (X > 0); CA = np.concatenate([np.zeros((P, 1)), np.cumsum(act, 1)], 1); lastc = np.maximum.accumulate(np.where(act, days[None, :], -1), 1)[:, ts]
    lo = np.maximum(lastc - k["sil_base"], 0); pi = I[:, None]; l1 = np.maximum(lastc, 0)
    aa = CA[pi, l1] - CA[pi, lo] + .5; bb = CN[pi, l1] - CN[pi, lo] - (aa - .5) + .5; sil = CN[:, ts + 1] - CN[pi, l1 + 1]
    c_ = (lastc > 28) & (sil >= 7) & (aa >= 3.5) & (CN[pi, l1] - CN[pi, lo] >= 21) & (aa / (aa + bb) < .6) & (ts % k["every"] == 0)[None, :]
    sl = np.zeros((P, nT)); A_, B_, N_ = aa[c_], bb[c_], sil[c_]
    sl[c_] = -(lgam(B_ + N_) - lgam(A_ + B_ + N_) - lgam(B_) + lgam(A_ + B_)) / np.log(10) - k["sil_pen"]
    up = sl > best; rs = (CY[pi, l1] - CY[pi, lo]) / np.maximum(CX[pi, l1] - CX[pi, lo], 1e-9)
    best[up] = sl[up]; bl[up] = rs[up]; seva[up] = (k["sev_k"] / (rs * (CX[:, ts + 1] - CX[pi, l1 + 1]) + k["sev_k"]))[up]; bs[up] = l1[up] + 1
    S[:, start:] = best; base[:, start:] = bl; obs[:, start:] = bl * seva; ratio[:, start:] = seva; since[:, start:] = bs
    if off is not None: S[off] = 0
    S[days[None, :] < (join + k["min_age"])[:, None]] = 0    # a newcomer gets no verdict yet
    for t in range(D):
        q = t - t % k["every"]
        for M_ in (S, base, obs, ratio): M_[:, t] = M_[:, q]
    return dict(S=S, base=base, obs=obs, since=since, ratio=ratio, g=g, psi0=np.array(psi0o), CY=CY, CX=CX, CR=CR, ystar=ystar, okd=okd)


def standing(y, R, days, h=2.5, k=K):
    """State of every partner on the given days: p_dormant, and the clicks lost per 28 days against the level
    before its last unrecovered alarm (a latch: a stopped partner stays on the books at its old level)."""
    P, D = y.shape; CX, CR, CY = R["CX"], R["CR"], R["CY"]; lb = np.zeros(P); ls = np.zeros(P, int); last = np.full(P, -1); dm, ls_ = {}, {}
    for t in range(D):
        last[y[:, t] > 0] = t
        if t < 60: continue
        hit = (R["S"][:, t] >= h) & (lb == 0)
        lb[hit] = R["base"][hit, t]; ls[hit] = R["since"][hit, t]
        n = np.minimum(28, np.maximum(t + 1 - ls, 1)); n = np.where(lb > 0, n, 28); lo = t + 1 - n; I = np.arange(P)
        x = CX[I, t + 1] - CX[I, lo]; now = (CR[I, t + 1] - CR[I, lo]) / np.maximum(x, 1e-9)
        ok = lb > 0; back = ok & (x > 7) & (now > .8 * lb); lb[back] = 0
        if t in days:
            ls_[t] = np.where(lb > 0, 28 * np.maximum(0, lb - now), 0.)
            # dormancy: prior hazard of dying against the chance of so long a silence in a living partner
            q = np.zeros(P)
            for i in range(P):
                if last[i] < 0: continue
                l = last[i]; s0 = max(0, l + 1 - 112); a = CY[i, l + 1] - CY[i, s0] + .5; xx = CX[i, l + 1] - CX[i, s0]
                if xx <= 0: continue
                rate = max(a / xx, lb[i]) if lb[i] > 0 else a / xx
                E = rate * (CX[i, t + 1] - CX[i, l + 1]); r = 1 / (1 / a + k["clump"])
                lp0 = -r * np.log1p(E / r); hz = k["hazard"] * max(t - l, .01); q[i] = 1 / (1 + np.exp(np.clip(lp0 - np.log(hz), -700, 700)))
                if now[i] < .1 * lb[i]: q[i] = max(q[i], .5 + .5 * (1 - now[i] / (.1 * lb[i])) * (1 - 10. ** -h))
            dm[t] = q
    return dm, ls_


CAUSES = ("market", "organisational", "interest", "content")


def diagnose(i, d, g, R):
    """Naive evidence for each cause in log units; returns posterior with equal priors."""
    s = int(R["since"][i, d]); b0 = max(int(g["join"][i]), s - 120); lo = max(s - 7, 0); e = np.zeros(4); why = {}
    bx = R["CX"][i, s] - R["CX"][i, b0]; wx = R["CX"][i, d + 1] - R["CX"][i, s]
    if bx <= 0 or wx <= 0: return e + .25, why
    c = g["country"][i]; yb = np.minimum(1, R["ystar"][i] / np.maximum(g["clicks"][i], 1))   # bursts capped alike in all countries
    Sb = (c[:, b0:s] * yb[b0:s]).sum(1); Sw = (c[:, s:d + 1] * yb[s:d + 1]).sum(1); E = (Sb + .5) * wx / bx; rho = max(Sw.sum(), .1) / E.sum()
    uni = (Sw * np.log(E * rho) - E * rho).sum(); best = -1e9
    for q in range(3):
        m = E.copy(); m[q] = max(Sw[q], .1); best = max(best, (Sw * np.log(m) - m).sum())
    ll = (best - uni) / (1 + .15 * E.sum() / 3); e[0] += np.clip(ll, -6, 6); why["one_country"] = ll
    def pois(x, mult, w):
        n0 = max(s - 7 - b0, 1); S = x[lo:d + 1].sum(); ex = (x[b0:max(s - 7, b0 + 1)].sum() + .3) / n0 * (d + 1 - lo)
        return w * np.clip(S * np.log(mult) - ex * (mult - 1), -8, 8)
    for j, (ml, mg) in enumerate(((1, 1), (.5, .7), (.1, .25), (1, 1))):
        if ml < 1: e[j] += pois(g["links"][i], ml, 1.) + pois(g["logins"][i], mg, 1.)
    cl, cv = g["clicks"][i].astype(float), g["conv"][i]
    crb = (cv[b0:s].sum() + .02) / ((R["ystar"][i, b0:s]).sum() + 1); ex = crb * R["ystar"][i, s:d + 1].sum(); S = cv[s:d + 1].sum()
    e[3] += np.clip(S * np.log(.6) + .4 * ex, -6, 6)
    w = cl[s:d + 1]; m = w.mean()
    if m >= 2 and len(w) >= 5:
        n0 = (w < .35 * m).sum(); k_ = .45 * n0 * np.log(.45 / .12) + .45 * (len(w) - n0) * np.log(.55 / .88); e[1] += np.clip(k_, -4, 6); why["erratic"] = k_
    p = np.exp(e - e.max()); return p / p.sum(), why


def conversions(g, R, h=4.0):
    """Clicks hold, conversions fall: NB tail of conversions given the (capped) clicks"""
    y = g["clicks"]; cv = g["conv"] * np.minimum(1, R["ystar"] / np.maximum(y, 1)); P, D = cv.shape; CV = np.concatenate([np.zeros((P, 1)), np.cumsum(cv * R["okd"], 1)], 1); CY = R["CY"]; out = np.zeros((P, D))
    for t in range(90, D):
        for n in (7, 14, 28, 56):
            lo = t + 1 - n; s0 = max(0, lo - 168); b = CV[:, lo] - CV[:, s0]; rate = (b + .5) / (CY[:, lo] - CY[:, s0] + 1)
            E = rate * (CY[:, t + 1] - CY[:, lo]); S = CV[:, t + 1] - CV[:, lo]; c_ = (b >= 8) & (E > 3) & (S < .6 * E)
            if c_.any(): out[c_, t] = np.maximum(out[c_, t], -nb_cdf_log10(S[c_], E[c_], 1 / (1 / (b[c_] + .5) + .08)))
    return out >= h


def load(path):
    part = list(csv.DictReader(open(os.path.join(path, "partners.csv")))); P = len(part)
    A = np.loadtxt(os.path.join(path, "series.csv"), delimiter=",", skiprows=1, dtype=np.int64); D = int(A[:, 1].max()) + 1
    def m(j):
        x = np.zeros((P, D), np.int64); x[A[:, 0], A[:, 1]] = A[:, j]; return x
    return dict(clicks=m(2), conv=m(3), country=np.stack([m(4), m(5), m(6)], 1), links=m(7), logins=m(8),
                join=np.array([int(p["joined_day"]) for p in part]), off=np.array([parse_off(p["declared_off"], D) for p in part]))


def report(data, out, h=3.4):
    g = load(data); R = detect(g["clicks"], g["join"], g["off"]); P, D = g["clicks"].shape; os.makedirs(out, exist_ok=True)
    dm, ls = standing(g["clicks"], R, (250, 325, 399)); cv = conversions(g, R)
    with open(os.path.join(out, "flags.csv"), "w") as f:
        f.write("partner_id,flagged_on,severity,p_value,baseline_per_day,observed_per_day,expected_lost_clicks,signal,cause,since\n")
        for i, d in zip(*np.where(R["S"] >= h)):
            if d < 90: continue
            b, o = R["base"][i, d], R["obs"][i, d]; pr, _ = diagnose(i, d, g, R); c = CAUSES[int(pr.argmax())] if pr.max() >= .6 else "unknown"
            f.write("%d,%d,%.3f,%.3g,%.4g,%.4g,%.4g,clicks,%s,%d\n" % (i, d, max(0, 1 - o / b), 10. ** -R["S"][i, d], b, o, 28 * max(0, b - o), c, R["since"][i, d]))
        for i, d in zip(*np.where(cv)): f.write("%d,%d,,1e-4,0,0,0,conversions,content,\n" % (i, d))
    with open(os.path.join(out, "states.csv"), "w") as f:
        f.write("partner_id,day,p_dormant,expected_lost_clicks\n")
        for t in dm:
            for i in range(P): f.write("%d,%d,%.5f,%.4g\n" % (i, t, dm[t][i], ls[t][i]))


if __name__ == "__main__":
    ap = argparse.ArgumentParser(); ap.add_argument("--seed"); ap.add_argument("--data"); ap.add_argument("--out"); ap.add_argument("-v", action="store_true"); a = ap.parse_args()
    if a.data: report(a.data, a.out); raise SystemExit
    from generate import generate
    import peers, score as sc
    g = generate(a.seed); D = g["clicks"].shape[1]
    T = sc.Truth([{q: str(v) for q, v in r.items()} for r in g["truth"]], D)
    off = np.array([parse_off(p["declared_off"], D) for p in g["partners"]])
    def run_(c):
        R = detect(g["clicks"], g["join"], off); dm, ls = standing(g["clicks"], R, sc.STATE_DAYS); return R["S"], R["base"], R["obs"], dm, ls
    o = peers.run("prototype", run_, None, T); print(peers.HEAD) if a.v else None; print(peers.line("PROTOTYPE", o))
    if a.v: print("h100 %.2f h1000 %.2f" % (o["100"]["h"], o["1000"]["h"]), {k: {q: round(float(v), 3) for q, v in o[k].items()} for k in ("100", "1000")})
