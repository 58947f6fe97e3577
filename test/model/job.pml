/* The life of one job between consumers that die and sleep, sweeps, requeue, a clock that goes both ways
 * and a server that crashes. test/model/run has Spin look at every reachable state.
 *
 * A job is enough: no transition looks at two. A transition is one statement on a locked row, so it is
 * atomic here; a completion is a transaction and holds the lock between its steps. A consumer may stop
 * between any two of its steps for as long as it likes (a zombie), die, and come back.
 *
 * A lease is random, which here means: a number that nobody remembers, the smallest of these. So there are
 * few, and requeue can go on for ever. Times are what the guards ask of them: `expires` lies in the future,
 * in the past, or is NULL; `due` says whether the schedule has come.
 *
 * Defined by the runner: BY_HAND (somebody lowers max_attempts and clears `expires`), ASYNC (a crash loses
 * commits), NO_LEASES (EctoJob's functions called as EctoJob does, guarded by the attempt: who wins is open,
 * the rest holds), or names that begin with WITHOUT_: such a guard is missing, and an assertion has to fail. */

#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#define MAX_ATTEMPTS 2
#define LEASES (CONSUMERS + 3)

mtype:state = { SCHEDULED, AVAILABLE, RESERVED, IN_PROGRESS, RETRY, FAILED, GONE };
mtype:time = { FUTURE, PAST, NULL };

/* What a commit makes durable. The effects of a job are written by the transaction that deletes it. */
typedef Row {
    mtype:state state;
    mtype:time expires;
    byte attempt;
    byte max_attempts;
    byte lease; /* 0: NULL */
    byte holder; /* who drew the lease; no column, only the assertions know it */
    byte effects;
}
Row job;
bool due;
byte locker; /* 0: nobody, else a consumer's number */

#ifdef ASYNC
Row flushed;
#endif
#ifdef WITHOUT_RANDOM_LEASES
byte sequence, flushed_sequence;
#endif

/* What a consumer remembers of its job, also when the job is no longer its own; 0: nothing */
byte lease[CONSUMERS + 1];
byte attempt[CONSUMERS + 1];
/* Did it lose its lease by the rules? Then it may be refused. */
bool ran_out[CONSUMERS + 1];

#ifdef NO_LEASES
#define WITHOUT_LEASE_AT_START
#define WITHOUT_LEASE_AT_COMPLETION
#define WITHOUT_LEASE_AT_FAILURE
#endif

/* The guards, as src/queue/transitions.cpp has them ---------------------------------------------------- */

#define HELD (job.state == RESERVED || job.state == IN_PROGRESS)
#define AT_LEAST_ONE(n) ((n) < 1 -> 1 : (n))
#define ATTEMPTS_LEFT (job.attempt < AT_LEAST_ONE(job.max_attempts))

#ifdef WITHOUT_EXPIRY_OF_NULL
#define EXPIRED(time) (time == PAST)
#else
#define EXPIRED(time) (time != FUTURE)
#endif
#ifdef WITHOUT_EXPIRY
#define SWEPT(time) true
#else
#define SWEPT(time) EXPIRED(time)
#endif
#ifdef WITHOUT_RELEASE_OF_RESERVED
#define ACTIVATES(time) (HELD && SWEPT(time) && ATTEMPTS_LEFT)
#else
#ifdef WITHOUT_ATTEMPT_BOUND
#define ACTIVATES(time) (HELD && SWEPT(time))
#else
#define ACTIVATES(time) (HELD && SWEPT(time) && (job.state == RESERVED || ATTEMPTS_LEFT))
#endif
#endif
#define FAILS(time) (job.state == IN_PROGRESS && SWEPT(time) && !ATTEMPTS_LEFT)
#define WAITS (job.state == SCHEDULED || job.state == RETRY)

#ifdef WITHOUT_LEASE_AT_START
#define STARTS(me) (job.state == RESERVED && job.attempt == attempt[me] && job.expires == FUTURE)
#else
#define STARTS(me) (job.state == RESERVED && job.attempt == attempt[me] && job.expires == FUTURE && \
                    job.lease == lease[me])
#endif
#ifdef WITHOUT_LEASE_AT_COMPLETION
#define COMPLETES(me) (job.state != GONE && job.attempt == attempt[me])
#else
#ifdef WITHOUT_GUARD_AT_COMPLETION
#define COMPLETES(me) (job.state != GONE)
#else
#define COMPLETES(me) (HELD && job.lease == lease[me])
#endif
#endif
#ifdef WITHOUT_LEASE_AT_FAILURE
#define REPORTS_FAILURE(me) (job.state == IN_PROGRESS && job.attempt == attempt[me])
#else
#define REPORTS_FAILURE(me) (job.state == IN_PROGRESS && job.lease == lease[me])
#endif
#ifdef WITHOUT_LEASE_AT_SESSION_END
#define GIVES_BACK(me) HELD
#else
#define GIVES_BACK(me) (HELD && job.lease == lease[me])
#endif

/* What must hold ---------------------------------------------------------------------------------------- */

/* As time passes: what is due at last, what expires at last */
#define LATER(time) (time == FUTURE -> PAST : time)
#define MOVES_AT_LAST (job.state == GONE || job.state == FAILED || job.state == AVAILABLE || WAITS || \
                       ACTIVATES(LATER(job.expires)) || FAILS(LATER(job.expires)))
#define EFFECT_ONCE (job.effects == (job.state == GONE -> 1 : 0))
#define ATTEMPTS_BOUNDED (job.attempt <= MAX_ATTEMPTS)

proctype watch()
{
end:
    if
    :: atomic { !EFFECT_ONCE -> assert(EFFECT_ONCE) }
    :: atomic { !ATTEMPTS_BOUNDED -> assert(ATTEMPTS_BOUNDED) }
    :: atomic { !MOVES_AT_LAST -> assert(MOVES_AT_LAST) }
    fi
}

#ifndef NO_LEASES
/* Who changes a held job must hold it */
#define HOLDS(me) (job.holder == me)
/* Who is refused must have lost it: at a session's end, at the end of its time, or in a crash */
#define REFUSED_RIGHTLY(me) ran_out[me]
#else
#define HOLDS(me) true
#define REFUSED_RIGHTLY(me) true
#endif

/* ------------------------------------------------------------------------------------------------------- */

#ifdef ASYNC
#define REMEMBERED_ON_DISK(l) (flushed.lease == l)
#else
#define REMEMBERED_ON_DISK(l) false
#endif

/* Within a d_step */
inline draw_lease(me)
{
#ifdef WITHOUT_RANDOM_LEASES
    sequence++;
    lease[me] = sequence;
#else
    byte l = 1, who;
    do
    :: l <= LEASES ->
        who = 1;
        do
        :: who <= CONSUMERS && lease[who] != l -> who++
        :: else -> break
        od;
        if
        :: who > CONSUMERS && job.lease != l && !REMEMBERED_ON_DISK(l) -> break
        :: else -> l++
        fi
    :: else -> break
    od;
    assert(l <= LEASES);
    lease[me] = l;
    l = 0;
    who = 0;
#endif
    job.lease = lease[me];
    job.holder = me;
    job.expires = FUTURE;
    ran_out[me] = false
}

inline end_lease()
{
    job.expires = NULL;
    job.lease = 0;
    job.holder = 0
}

inline forget(me)
{
    lease[me] = 0;
    attempt[me] = 0;
    ran_out[me] = false
}

/* Of RESERVED by a session's end too: it has not begun, so it only returns */
inline end_attempt()
{
    if
#ifndef WITHOUT_ATTEMPT_BOUND_AT_FAILURE
    :: !(job.attempt < job.max_attempts) -> job.state = FAILED
#endif
    :: else -> job.state = RETRY; due = false
    fi;
    end_lease()
}

inline make_available()
{
    job.state = AVAILABLE;
    end_lease()
}

#ifdef WITHOUT_RANDOM_LEASES
#define A_LEASE_IS_LEFT (sequence < 5)
#else
#define A_LEASE_IS_LEFT true
#endif
#define CLAIMS (job.state == AVAILABLE && locker == 0 && A_LEASE_IS_LEFT)

proctype consumer(byte me)
{
end_idle:
    do
    :: d_step {
           /* reserve_available_jobs */
           CLAIMS -> draw_lease(me); job.state = RESERVED; attempt[me] = job.attempt
       };
       goto reserved
    :: d_step {
           /* start_available_jobs */
           CLAIMS -> draw_lease(me); job.state = IN_PROGRESS; job.attempt++; attempt[me] = job.attempt
       };
       goto performing
    od;

reserved:
    if
    :: d_step {
           /* update_job_in_progress */
           locker == 0 && STARTS(me) -> assert(HOLDS(me));
           job.state = IN_PROGRESS; job.attempt++; attempt[me] = job.attempt; job.expires = FUTURE
       };
       goto performing
    :: d_step { locker == 0 && !STARTS(me) -> assert(REFUSED_RIGHTLY(me)); forget(me) }; goto end_idle
    :: goto dying
    fi;

performing:
    if
    :: atomic { locker == 0 && COMPLETES(me) -> assert(HOLDS(me)); locker = me }; goto completing
#ifdef WITHOUT_CHECK_OF_COMPLETION
    /* It deletes no row and does not look */
    :: d_step { locker == 0 && !COMPLETES(me) -> job.effects++; forget(me) }; goto end_idle
#else
    :: d_step { locker == 0 && !COMPLETES(me) -> assert(REFUSED_RIGHTLY(me)); forget(me) }; goto end_idle
#endif
    :: d_step { locker == 0 && REPORTS_FAILURE(me) -> assert(HOLDS(me)); end_attempt(); forget(me) }; goto end_idle
    :: d_step { locker == 0 && !REPORTS_FAILURE(me) -> assert(REFUSED_RIGHTLY(me)); forget(me) }; goto end_idle
    :: goto dying
    fi;

completing: /* the row is deleted in a transaction that is open */
    if
    :: locker != me -> goto dying /* the server has crashed meanwhile */
    :: d_step {
           locker == me -> job.state = GONE; end_lease(); job.effects++; locker = 0; forget(me)
       };
       goto end_idle
    :: d_step { locker == me -> locker = 0 }; goto performing
    :: d_step { locker == me -> locker = 0 }; goto dying
    fi;

dying: /* the server may notice late, and for a lease that is not bound to the session it does not matter */
    if
    :: d_step { forget(me) }
    :: d_step {
           /* the session's end */
           locker == 0 && GIVES_BACK(me) -> assert(HOLDS(me));
           if
           :: job.state == RESERVED -> make_available()
           :: else -> end_attempt()
           fi;
           forget(me)
       }
    fi;
    goto end_idle
}

/* SKIP LOCKED: a locked job is passed by */
proctype sweeps()
{
end:
    do
    :: d_step { locker == 0 && WAITS && due -> make_available() }
    :: d_step { locker == 0 && ACTIVATES(job.expires) -> make_available() }
    :: d_step { locker == 0 && FAILS(job.expires) -> job.state = FAILED; end_lease() }
    :: d_step {
           /* requeue, by a person */
           locker == 0 && job.state == FAILED ->
           job.state = SCHEDULED; job.attempt = 0; end_lease()
       }
    od
}

/* Whoever holds the job now may be refused from now on */
inline run_out()
{
    byte holder = 1;
    do
    :: holder <= CONSUMERS ->
        if
        :: lease[holder] != 0 && lease[holder] == job.lease -> ran_out[holder] = true
        :: else
        fi;
        holder++
    :: else -> break
    od;
    holder = 0
}

proctype world()
{
end:
    do
    :: !due -> due = true
    :: due && WAITS -> due = false
    :: d_step { job.expires == FUTURE -> job.expires = PAST; run_out() }
    :: job.expires == PAST -> job.expires = FUTURE
#ifdef BY_HAND
    :: d_step { locker == 0 && HELD && job.expires != NULL -> job.expires = NULL; run_out() }
    :: locker == 0 && job.max_attempts > 0 -> job.max_attempts--
#endif
#ifdef ASYNC
    :: d_step {
           flushed.state = job.state; flushed.expires = job.expires; flushed.attempt = job.attempt;
           flushed.max_attempts = job.max_attempts; flushed.lease = job.lease; flushed.holder = job.holder;
            flushed.effects = job.effects;
#ifdef WITHOUT_RANDOM_LEASES
           flushed_sequence = sequence
#endif
       }
    :: d_step {
           /* Sessions end, consumers need not: they come again with what they remember */
           locker = 0;
           byte who = 1;
           do
           :: who <= CONSUMERS -> ran_out[who] = (lease[who] != 0); who++
           :: else -> break
           od;
           who = 0;
           job.state = flushed.state; job.expires = flushed.expires; job.attempt = flushed.attempt;
           job.max_attempts = flushed.max_attempts; job.lease = flushed.lease; job.holder = flushed.holder;
            job.effects = flushed.effects;
#ifdef WITHOUT_RANDOM_LEASES
           sequence = flushed_sequence
#endif
       }
#endif
    od
}

init
{
    byte me = 1;
    atomic {
        job.state = AVAILABLE;
        job.expires = NULL;
        job.max_attempts = MAX_ATTEMPTS;
#ifdef ASYNC
        flushed.state = AVAILABLE;
        flushed.expires = NULL;
        flushed.max_attempts = MAX_ATTEMPTS;
#endif
        run watch();
        run sweeps();
        run world();
        do
        :: me <= CONSUMERS -> run consumer(me); me++
        :: else -> break
        od;
        me = 0
    }
}
