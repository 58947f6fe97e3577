/* The model of wait() and wait_any(): sessions that wait for jobs of one queue or of several, commits that give them
 * wake-ups, and wake-ups that are passed on. test/model/run has Spin visit every reachable state.
 *
 * Jobs come, at any time, in commits; each becomes visible first and is reported afterwards. Sessions claim, wait when a
 * claim has found nothing, and may end, give up waiting, roll back a claim or do something else, at any time. Each step
 * of a session is one access to shared memory or one snapshot, which is of one queue. A session searches its queues in
 * any order: no property depends on the order. A name that begins with WITHOUT_ is a missing guard: the assertion must
 * fail. */

#ifndef SESSIONS
#define SESSIONS 2
#endif
#ifndef QUEUES
#define QUEUES 1
#endif
#ifndef JOBS
#define JOBS 2
#endif

/* The first sessions, SEVERAL of them, wait for all queues, each other one for a single queue */
#ifndef SEVERAL
#define SEVERAL 1
#endif
#define WAITS_FOR(n, queue) (n < SEVERAL || (n - SEVERAL) % QUEUES == queue)

/* A set of queues has a bit for each */
#define BIT(queue) (1 << (queue))
#define HAS(set, queue) (((set) & BIT(queue)) != 0)

/* The table of each queue: the jobs that are AVAILABLE, and those that a claim has locked and not committed */
byte available[QUEUES];
byte locked[QUEUES];

/* Commits whose jobs are visible and not yet reported; claims that were rolled back and not yet reported */
byte to_report[QUEUES];

/* Shared memory: who waits, in order, and for which queue he has been given a wake-up that he has not taken: its bit */
bool waits[SESSIONS];
byte woken[SESSIONS];
byte turn[SESSIONS];

/* A session's own memory: the queues for which it has taken a wake-up, those in which it has searched since, the queue
 * of its job, and what it is doing */
byte taken[SESSIONS];
byte searched[SESSIONS];
byte found[SESSIONS];
mtype:place = { CLIENT, ENTERED, SEARCHING, ASLEEP, RETURNED, CLAIMED, ENDED };
mtype:place place[SESSIONS];

byte coming = JOBS;

/* Gives a wake-up to the session that has waited longest and has none. To be called within a d_step */
byte at, best;
inline wake_one(queue)
{
    best = SESSIONS;
    at = 0;
    do
    :: at < SESSIONS ->
        if
        :: waits[at] && WAITS_FOR(at, queue) && woken[at] == 0 && (best == SESSIONS || turn[at] < turn[best]) -> best = at
        :: else
        fi;
        at++
    :: else -> break
    od;
    if
    :: best < SESSIONS -> woken[best] = BIT(queue)
    :: else
    fi;
    at = 0; best = 0
}

/* Gives a wake-up for each queue of the set */
byte each;
inline wake_for(set)
{
    each = 0;
    do
    :: each < QUEUES ->
        if
        :: HAS(set, each) -> wake_one(each)
        :: else
        fi;
        each++
    :: else -> break
    od;
    each = 0
}

inline enter(me)
{
    waits[me] = true;
    woken[me] = 0;
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

/* Leaves the lists. Passes on a wake-up that was not taken, and those that were taken for other queues than `kept`, which
 * is a set of the one queue whose job was found, or empty */
byte untaken, in_vain;
inline leave(me, kept)
{
    remove(me);
    untaken = woken[me];
    woken[me] = 0;
    in_vain = taken[me] & ~(kept);
    taken[me] = taken[me] & (kept);
    searched[me] = 0;
#ifndef WITHOUT_PASSING_ON_UNTAKEN
    wake_for(untaken);
#endif
#ifdef WITHOUT_QUEUE_OF_WAKE_UP
    if
    :: in_vain != 0 && (kept) != 0 -> wake_for(kept)
    :: in_vain != 0 && (kept) == 0 -> wake_for(in_vain)
    :: else
    fi;
#elif defined(WITHOUT_PASSING_ON_OTHERS)
    if
    :: (kept) == 0 -> wake_for(in_vain)
    :: else
    fi;
#elif !defined(WITHOUT_PASSING_ON_AT_ERROR)
    wake_for(in_vain);
#endif
    untaken = 0; in_vain = 0
}

/* The wake-up of a session that was expected to claim and does not */
inline pass_on(me)
{
    in_vain = taken[me];
    taken[me] = 0;
#ifndef WITHOUT_PASSING_ON
    wake_for(in_vain);
#endif
    in_vain = 0
}

/* While a job is there and a session sleeps that waits for its queue, somebody is about to act: a commit that has to
 * report, a session that was woken, or one that is expected to claim. Nobody else need act ever. A session that was
 * woken for one queue acts for all of its queues, since it searches in all of them. */
#define SLEEPS(n, queue) (place[n] == ASLEEP && woken[n] == 0 && WAITS_FOR(n, queue))
#define ACTS(n, queue) ((woken[n] != 0 && WAITS_FOR(n, queue)) || HAS(taken[n], queue) || \
    (place[n] == CLAIMED && found[n] == queue) || (place[n] == SEARCHING && WAITS_FOR(n, queue)))
#if SESSIONS == 2
#define ANY_SLEEPS(queue) (SLEEPS(0, queue) || SLEEPS(1, queue))
#define ANY_ACTS(queue) (ACTS(0, queue) || ACTS(1, queue))
#else
#define ANY_SLEEPS(queue) (SLEEPS(0, queue) || SLEEPS(1, queue) || SLEEPS(2, queue))
#define ANY_ACTS(queue) (ACTS(0, queue) || ACTS(1, queue) || ACTS(2, queue))
#endif
#define KEPT(queue) (available[queue] == 0 || to_report[queue] > 0 || !ANY_SLEEPS(queue) || ANY_ACTS(queue))
#if QUEUES == 1
#define NOT_LOST (KEPT(0))
#else
#define NOT_LOST (KEPT(0) && KEPT(1))
#endif

proctype watch()
{
end:
    atomic { !NOT_LOST -> assert(NOT_LOST) }
}

proctype commits(byte queue)
{
end:
    do
#ifdef WITHOUT_VISIBLE_FIRST
    :: d_step { coming > 0 && to_report[queue] == 0 -> coming--; wake_one(queue); to_report[queue] = 1 }
    :: d_step { to_report[queue] > 0 -> to_report[queue]--; available[queue]++ }
#else
    :: d_step { coming > 0 -> coming--; available[queue]++; to_report[queue]++ }
    :: d_step { to_report[queue] > 0 -> to_report[queue]--; wake_one(queue) }
#endif
    od
}

/* A claim of a job of this queue. The claim of a session that was woken for the queue serves its wake-up; one that
 * returned from a wait for another queue does something else first */
#define CLAIMS(queue) \
    :: d_step { \
           (place[me] == CLIENT || (place[me] == RETURNED && found[me] == queue)) && available[queue] > 0 -> \
           available[queue]--; locked[queue]++; taken[me] = 0; found[me] = queue; place[me] = CLAIMED \
       } \
    :: d_step { \
           place[me] == RETURNED && found[me] == queue && available[queue] == 0 -> \
           taken[me] = 0; found[me] = 0; place[me] = CLIENT \
       }

/* A search in this queue, by a snapshot that is taken after the wake-up */
#ifdef WITHOUT_OTHER_QUEUES
byte woken_for[SESSIONS];
#define REMEMBER woken_for[me] = woken[me]
#define MAY_SEARCH(queue) (woken_for[me] == 0 || HAS(woken_for[me], queue))
#else
#define REMEMBER skip
#define MAY_SEARCH(queue) true
#endif
#define SEARCHES(queue) \
    :: d_step { \
           place[me] == SEARCHING && WAITS_FOR(me, queue) && !HAS(searched[me], queue) && MAY_SEARCH(queue) && \
           available[queue] + locked[queue] > 0 -> \
           place[me] = RETURNED; found[me] = queue; leave(me, BIT(queue)) \
       }

proctype session(byte me)
{
    byte seen;
end:
    do
    CLAIMS(0)
#if QUEUES > 1
    CLAIMS(1)
#endif
    :: d_step { place[me] == CLAIMED -> locked[found[me]]--; found[me] = 0; place[me] = CLIENT }
    :: d_step {
           place[me] == CLAIMED && to_report[found[me]] < JOBS -> /* rolled back */
           locked[found[me]]--; available[found[me]]++;
#ifndef WITHOUT_WAKE_UP_AT_ROLLBACK
           to_report[found[me]]++;
#endif
           found[me] = 0; place[me] = CLIENT
       }
    /* Something else than a claim, or the session's end */
    :: d_step { place[me] == RETURNED -> pass_on(me); found[me] = 0; place[me] = CLIENT }

    /* A wait. The session enters the lists first, then takes a snapshot */
#ifdef WITHOUT_ENTERING_FIRST
    :: d_step { place[me] == CLIENT -> seen = available[0]; place[me] = ENTERED }
    :: d_step { place[me] == ENTERED && seen == 0 -> enter(me); place[me] = ASLEEP }
    :: d_step { place[me] == ENTERED && seen > 0 -> seen = 0; place[me] = RETURNED }
#else
    :: d_step { place[me] == CLIENT -> enter(me); place[me] = ENTERED }
    :: d_step {
           place[me] == ENTERED -> REMEMBER; taken[me] = taken[me] | woken[me];
           woken[me] = 0; place[me] = SEARCHING
       }
#endif
    :: d_step {
           place[me] == ASLEEP && woken[me] != 0 ->
#ifdef WITHOUT_TAKING_FIRST
           place[me] = SEARCHING
#else
           REMEMBER; taken[me] = taken[me] | woken[me]; woken[me] = 0; place[me] = SEARCHING
#endif
       }
    SEARCHES(0)
#if QUEUES > 1
    SEARCHES(1)
#endif
#ifdef WITHOUT_TAKING_FIRST
    :: d_step { place[me] == SEARCHING && available[0] + locked[0] == 0 && seen == 0 -> seen = 1 }
    :: d_step { place[me] == SEARCHING && seen == 1 -> seen = 0; woken[me] = 0; taken[me] = 0; place[me] = ASLEEP }
#else
#define FINDS_NOTHING(queue) \
    :: d_step { \
           place[me] == SEARCHING && WAITS_FOR(me, queue) && !HAS(searched[me], queue) && MAY_SEARCH(queue) && \
           available[queue] + locked[queue] == 0 -> \
           searched[me] = searched[me] | BIT(queue); taken[me] = taken[me] & ~BIT(queue) \
       }
    FINDS_NOTHING(0)
#if QUEUES > 1
    FINDS_NOTHING(1)
#endif
#define SEARCHED(queue) (HAS(searched[me], queue) || !WAITS_FOR(me, queue) || !MAY_SEARCH(queue))
#if QUEUES > 1
    :: d_step { place[me] == SEARCHING && SEARCHED(0) && SEARCHED(1) -> searched[me] = 0; place[me] = ASLEEP }
#else
    :: d_step { place[me] == SEARCHING && SEARCHED(0) -> searched[me] = 0; place[me] = ASLEEP }
#endif
#endif
    /* The time is up, or the statement is cancelled, or the session ends */
    :: d_step { place[me] == ASLEEP -> leave(me, 0); place[me] = CLIENT }
    :: d_step { place[me] == SEARCHING -> leave(me, 0); place[me] = CLIENT }
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
        run commits(0);
#if QUEUES > 1
        run commits(1);
#endif
        run session(0);
        run session(1);
#if SESSIONS > 2
        run session(2);
#endif
    }
}
