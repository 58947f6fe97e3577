/* The model of wait(): sessions that wait for jobs, commits that give them wake-ups, and wake-ups that are passed on.
 * test/model/run has Spin visit every reachable state.
 *
 * Jobs come, at any time, in commits; each becomes visible first and is reported afterwards. Sessions claim, wait when a
 * claim has found nothing, and may end, give up waiting, roll back a claim or do something else, at any time. Each step
 * of a session is one access to shared memory or one snapshot. A name that begins with WITHOUT_ is a missing guard: the
 * assertion must fail. */

#ifndef SESSIONS
#define SESSIONS 2
#endif
#define JOBS 2

/* The table: the jobs that are AVAILABLE, and those that a claim has locked and not committed */
byte available;
byte locked;

/* Commits whose jobs are visible and not yet reported; claims that were rolled back and not yet reported */
byte to_report;

/* Shared memory: who waits, in order, and who has been given a wake-up that he has not taken */
bool waits[SESSIONS];
bool woken[SESSIONS];
byte turn[SESSIONS];

/* A session's own memory: whether it has taken a wake-up, and what it is doing */
bool has_wake_up[SESSIONS];
mtype:place = { CLIENT, ENTERED, SEARCHING, ASLEEP, RETURNED, CLAIMED, ENDED };
mtype:place place[SESSIONS];

byte coming = JOBS;

/* Gives a wake-up to the session that has waited longest and has none. To be called within a d_step */
byte at, best;
inline wake_one()
{
    best = SESSIONS;
    at = 0;
    do
    :: at < SESSIONS ->
        if
        :: waits[at] && !woken[at] && (best == SESSIONS || turn[at] < turn[best]) -> best = at
        :: else
        fi;
        at++
    :: else -> break
    od;
    if
    :: best < SESSIONS -> woken[best] = true
    :: else
    fi;
    at = 0; best = 0
}

inline enter(me)
{
    waits[me] = true;
    woken[me] = false;
    turn[me] = 0;
    at = 0;
    do
    :: at < SESSIONS -> turn[me] = turn[me] + (waits[at] -> 1 : 0); at++
    :: else -> break
    od;
    at = 0
}

/* Those who came later move up */
inline remove(me)
{
    at = 0;
    do
    :: at < SESSIONS -> turn[at] = turn[at] - (waits[at] && turn[at] > turn[me] -> 1 : 0); at++
    :: else -> break
    od;
    at = 0;
    waits[me] = false;
    turn[me] = 0
}

/* Leaves the list, and passes on a wake-up that was not taken, and one that was taken in vain */
inline leave(me, keeps)
{
    remove(me);
    if
    :: woken[me] ->
        woken[me] = false;
#ifndef WITHOUT_PASSING_ON_UNTAKEN
        wake_one()
#endif
    :: else
    fi;
    if
    :: has_wake_up[me] && !(keeps) ->
        has_wake_up[me] = false;
#ifndef WITHOUT_PASSING_ON_AT_ERROR
        wake_one()
#endif
    :: else
    fi
}

/* The wake-up of a session that was expected to claim and does not */
inline pass_on(me)
{
    if
    :: has_wake_up[me] ->
        has_wake_up[me] = false;
#ifndef WITHOUT_PASSING_ON
        wake_one()
#endif
    :: else
    fi
}

/* While a job is there and a session sleeps, somebody is about to act: a commit that has to report, a session that was
 * woken, or one that is expected to claim. Nobody else need act ever. */
#define SLEEPS(n) (place[n] == ASLEEP && !woken[n])
#define ACTS(n) (woken[n] || has_wake_up[n] || place[n] == CLAIMED || place[n] == SEARCHING)
#if SESSIONS == 2
#define ANY_SLEEPS (SLEEPS(0) || SLEEPS(1))
#define ANY_ACTS (ACTS(0) || ACTS(1))
#else
#define ANY_SLEEPS (SLEEPS(0) || SLEEPS(1) || SLEEPS(2))
#define ANY_ACTS (ACTS(0) || ACTS(1) || ACTS(2))
#endif
#define NOT_LOST (available == 0 || to_report > 0 || !ANY_SLEEPS || ANY_ACTS)

proctype watch()
{
end:
    atomic { !NOT_LOST -> assert(NOT_LOST) }
}

proctype commits()
{
end:
    do
#ifdef WITHOUT_VISIBLE_FIRST
    :: d_step { coming > 0 && to_report == 0 -> coming--; wake_one(); to_report = 1 }
    :: d_step { to_report > 0 -> to_report--; available++ }
#else
    :: d_step { coming > 0 -> coming--; available++; to_report++ }
    :: d_step { to_report > 0 -> to_report--; wake_one() }
#endif
    od
}

proctype session(byte me)
{
    byte seen;
end:
    do
    /* A claim, of one job. The claim of a session that was woken serves its wake-up */
    :: d_step {
           (place[me] == CLIENT || place[me] == RETURNED) && available > 0 ->
           available--; locked++; has_wake_up[me] = false; place[me] = CLAIMED
       }
    :: d_step { place[me] == RETURNED && available == 0 -> has_wake_up[me] = false; place[me] = CLIENT }
    :: d_step { place[me] == CLAIMED -> locked--; place[me] = CLIENT }
    :: d_step {
           place[me] == CLAIMED && to_report < JOBS -> /* rolled back */
           locked--; available++;
#ifndef WITHOUT_WAKE_UP_AT_ROLLBACK
           to_report++;
#endif
           place[me] = CLIENT
       }
    /* Something else than a claim, or the session's end */
    :: d_step { place[me] == RETURNED -> pass_on(me); place[me] = CLIENT }

    /* A wait. The session enters the list first, then takes a snapshot */
#ifdef WITHOUT_ENTERING_FIRST
    :: d_step { place[me] == CLIENT -> seen = available; place[me] = ENTERED }
    :: d_step { place[me] == ENTERED && seen == 0 -> enter(me); place[me] = ASLEEP }
    :: d_step { place[me] == ENTERED && seen > 0 -> seen = 0; place[me] = RETURNED }
#else
    :: d_step { place[me] == CLIENT -> enter(me); place[me] = ENTERED }
    :: d_step {
           place[me] == ENTERED -> has_wake_up[me] = has_wake_up[me] || woken[me];
           woken[me] = false; place[me] = SEARCHING
       }
#endif
    :: d_step {
           place[me] == ASLEEP && woken[me] ->
#ifdef WITHOUT_TAKING_FIRST
           place[me] = SEARCHING
#else
           has_wake_up[me] = true; woken[me] = false; place[me] = SEARCHING
#endif
       }
    :: d_step { place[me] == SEARCHING && available + locked > 0 -> place[me] = RETURNED; leave(me, true) }
#ifdef WITHOUT_TAKING_FIRST
    :: d_step { place[me] == SEARCHING && available + locked == 0 && seen == 0 -> seen = 1 }
    :: d_step { place[me] == SEARCHING && seen == 1 -> seen = 0; woken[me] = false; has_wake_up[me] = false; place[me] = ASLEEP }
#else
    :: d_step { place[me] == SEARCHING && available + locked == 0 -> has_wake_up[me] = false; place[me] = ASLEEP }
#endif
    /* The time is up, or the statement is cancelled, or the session ends */
    :: d_step { place[me] == ASLEEP -> leave(me, false); place[me] = CLIENT }
    :: d_step { place[me] == SEARCHING -> leave(me, false); place[me] = CLIENT }
    od
}

init
{
    atomic {
        at = 0;
        do
        :: at < SESSIONS -> place[at] = CLIENT; at++
        :: else -> break
        od;
        at = 0;
        run watch();
        run commits();
        run session(0);
        run session(1);
#if SESSIONS > 2
        run session(2);
#endif
    }
}
