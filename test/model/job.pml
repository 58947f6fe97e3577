/* The model of one job's life, with consumers that die and stop, sweeps, requeue, a clock that is stepped both ways
 * and a server that crashes. test/model/run has Spin visit every reachable state.
 *
 * extend_lease is no step of its own: it moves an end in the future to another one. snooze_job and fail_job, with and
 * without further attempts, are a consumer's steps, cancel_job and requeue a user's. A pass that deletes old FAILED jobs
 * has two steps: it reads the row, and deletes it later.
 *
 * One job is enough, since no transition reads two. A transition is one statement on a locked row, so it is
 * atomic here; a completion is a transaction and holds the lock between its steps. A consumer may stop
 * between any two of its steps for any time (and be stale then), die, and be restarted; its session may end while the
 * consumer lives on with its memory.
 *
 * A random lease is here the smallest number that no process remembers. So there are few leases, and requeue can be
 * repeated without limit. Times are reduced to what the guards test: `expires` is in the future, in the past, or NULL;
 * `due` is whether the schedule is past.
 *
 * The runner defines BY_HAND (a user lowers max_attempts and clears `expires`), CRASH (the server crashes: all
 * sessions end, no commit is lost), ASYNC (a crash loses commits), ALL_BOUND and NONE_BOUND (with session leases alone,
 * and without), RETENTION (FAILED jobs are deleted), NO_LEASES (EctoJob's functions called as EctoJob does, guarded by the attempt: any consumer may win, all
 * other assertions hold), or names that begin with WITHOUT_: that guard is missing, and an assertion must fail. */

#ifndef CONSUMERS
#define CONSUMERS 2
#endif
#define MAX_ATTEMPTS 2
#define LEASES (CONSUMERS + 3)

/* CANCELLED: the row was deleted by cancel_job or failed_retention */
mtype:state = { SCHEDULED, AVAILABLE, RESERVED, IN_PROGRESS, RETRY, FAILED, GONE, CANCELLED };
mtype:time = { FUTURE, PAST, NULL };

/* The durable data. The transaction that deletes a job writes its effects. */
typedef Row {
    mtype:state state;
    mtype:time expires;
    byte attempt;
    byte max_attempts;
    byte lease; /* 0: NULL */
    bool bound; /* the lease's lowest bit: the lease ends with its session */
    bool orphaned; /* the lease's session has ended, and no session has its number; also true of a lease that is not
                      bound, whose bits are the number of no live session */
    byte holder; /* the consumer that drew the lease; not a column: only the assertions read it */
    byte effects;
}
Row job;
bool due;
byte locker; /* the consumer that has the row locked; 0: none */

#ifdef ASYNC
Row flushed;
#endif
#ifdef WITHOUT_RANDOM_LEASES
byte sequence, flushed_sequence;
#endif
#ifdef WITHOUT_NEW_SESSION_NUMBERS
bool connected[CONSUMERS + 1];
#endif

/* A consumer's memory of its job, kept when it has lost the job; 0: none */
byte lease[CONSUMERS + 1];
byte attempt[CONSUMERS + 1];
/* Whether the consumer lost its lease by the rules, so that it may be refused */
bool ran_out[CONSUMERS + 1];

#ifdef NO_LEASES
#define WITHOUT_LEASE_AT_START
#define WITHOUT_LEASE_AT_COMPLETION
#define WITHOUT_LEASE_AT_FAILURE
#endif

/* The guards, as in src/queue/statements.cpp ------------------------------------------------------------ */

/* The row of a completed or deleted job does not exist */
#define EXISTS (job.state != GONE && job.state != CANCELLED)
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
#define COMPLETES(me) (EXISTS && job.attempt == attempt[me])
#else
#ifdef WITHOUT_GUARD_AT_COMPLETION
#define COMPLETES(me) EXISTS
#else
#define COMPLETES(me) (HELD && job.lease == lease[me])
#endif
#endif
#ifdef WITHOUT_LEASE_AT_FAILURE
#define REPORTS_FAILURE(me) (job.state == IN_PROGRESS && job.attempt == attempt[me])
#else
#define REPORTS_FAILURE(me) (job.state == IN_PROGRESS && job.lease == lease[me])
#endif
/* fail_job(retry => false) and snooze_job have no form without a lease */
#ifdef WITHOUT_LEASE_AT_GIVING_UP
#define GIVES_UP(me) (job.state == IN_PROGRESS)
#else
#define GIVES_UP(me) (job.state == IN_PROGRESS && job.lease == lease[me])
#endif
#ifdef WITHOUT_LEASE_AT_SNOOZE
#define SNOOZES(me) HELD
#else
#define SNOOZES(me) (HELD && job.lease == lease[me])
#endif
#ifdef WITHOUT_STATE_AT_DELETION
#define DELETES EXISTS
#else
#define DELETES (job.state == FAILED)
#endif
#ifdef WITHOUT_LIVING_SESSIONS
#define ENDED true
#else
#ifdef WITHOUT_NEW_SESSION_NUMBERS
/* A live session has this number */
#define ENDED (job.orphaned && !connected[job.holder])
#else
#define ENDED job.orphaned
#endif
#endif
#ifdef WITHOUT_BOUND_BIT
#define GIVEN_BACK (HELD && ENDED)
#else
#define GIVEN_BACK (HELD && job.bound && ENDED)
#endif

/* The invariants ---------------------------------------------------------------------------------------- */

/* Liveness: a due job becomes available eventually, and a lease expires eventually */
#define LATER(time) (time == FUTURE -> PAST : time)
#define MOVES_AT_LAST (!EXISTS || job.state == FAILED || job.state == AVAILABLE || WAITS || \
                       ACTIVATES(LATER(job.expires)) || FAILS(LATER(job.expires)))
#define EFFECT_ONCE (job.effects == (job.state == GONE -> 1 : 0))
#define ATTEMPTS_BOUNDED (job.attempt <= MAX_ATTEMPTS)
/* A job that an ended session held is given back before its lease ends */
#define ORPHANS_COME_BACK (!(HELD && job.bound && job.orphaned) || GIVEN_BACK)

proctype watch()
{
end:
    if
    :: atomic { !EFFECT_ONCE -> assert(EFFECT_ONCE) }
    :: atomic { !ATTEMPTS_BOUNDED -> assert(ATTEMPTS_BOUNDED) }
    :: atomic { !MOVES_AT_LAST -> assert(MOVES_AT_LAST) }
    :: atomic { !ORPHANS_COME_BACK -> assert(ORPHANS_COME_BACK) }
    fi
}

#ifndef NO_LEASES
/* Only the holder changes a held job */
#define HOLDS(me) (job.holder == me)
/* A consumer that is refused has lost the job: by its session's end, by its lease's end, or in a crash */
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

/* To be called within a d_step */
inline draw_lease(me, is_bound)
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
    job.bound = is_bound;
    job.orphaned = !is_bound;
    job.holder = me;
    job.expires = FUTURE;
    ran_out[me] = false
}

inline end_lease()
{
    job.expires = NULL;
    job.lease = 0;
    job.bound = false;
    job.orphaned = false;
    job.holder = 0
}

/* Ends the consumer's session: from now on a job that it holds under a session lease may be taken from it */
inline end_session(me)
{
    if
    :: job.holder == me && job.bound -> job.orphaned = true; ran_out[me] = ran_out[me] || lease[me] == job.lease
    :: else
    fi;
#ifdef ASYNC
    if
    :: flushed.holder == me && flushed.bound -> flushed.orphaned = true
    :: else
    fi;
#endif
#ifdef WITHOUT_NEW_SESSION_NUMBERS
    connected[me] = false;
#endif
    skip
}

inline forget(me)
{
    lease[me] = 0;
    attempt[me] = 0;
    ran_out[me] = false
}

inline end_attempt()
{
    assert(job.state == IN_PROGRESS); /* a job that is not started cannot fail */
    if
#ifndef WITHOUT_ATTEMPT_BOUND_AT_FAILURE
    :: !(job.attempt < job.max_attempts) -> job.state = FAILED
#endif
    :: else -> job.state = RETRY; due = false
    fi;
    end_lease()
}

/* The attempt that the job has begun does not count. Without a delay the job is AVAILABLE, else it is SCHEDULED */
inline snooze()
{
    if
    :: job.state == IN_PROGRESS && job.attempt > 0 -> job.attempt--
    :: else
    fi;
    if
    :: true -> job.state = AVAILABLE
    :: true -> job.state = SCHEDULED; due = false
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

/* Only the end of a session with a bound lease is noticed */
#define MAY_LOSE_SESSION(me) (job.holder == me && job.bound && !job.orphaned && locker != me)

proctype consumer(byte me)
{
end_idle:
    do
#ifdef WITHOUT_NEW_SESSION_NUMBERS
    :: !connected[me] -> connected[me] = true
#endif
#ifndef ALL_BOUND
    :: d_step {
           /* reserve_available_jobs */
           CLAIMS -> draw_lease(me, false); job.state = RESERVED; attempt[me] = job.attempt
       };
       goto reserved
    :: d_step {
           /* start_available_jobs */
           CLAIMS -> draw_lease(me, false); job.state = IN_PROGRESS; job.attempt++; attempt[me] = job.attempt
       };
       goto performing
#endif
#if !defined(NO_LEASES) && !defined(NONE_BOUND)
    /* reserve_available_jobs and start_available_jobs with session leases */
    :: d_step { CLAIMS -> draw_lease(me, true); job.state = RESERVED; attempt[me] = job.attempt };
       goto reserved
    :: d_step {
           CLAIMS -> draw_lease(me, true); job.state = IN_PROGRESS; job.attempt++; attempt[me] = job.attempt
       };
       goto performing
#endif
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
#ifndef NO_LEASES
    :: d_step { locker == 0 && SNOOZES(me) -> assert(HOLDS(me)); snooze(); forget(me) }; goto end_idle
#endif
    /* The consumer completes a job that it has only reserved */
    :: atomic { locker == 0 && COMPLETES(me) -> assert(HOLDS(me)); locker = me }; goto completing
    :: d_step { MAY_LOSE_SESSION(me) -> end_session(me) }; goto reserved
    :: goto dying
    fi;

performing:
    if
    :: atomic { locker == 0 && COMPLETES(me) -> assert(HOLDS(me)); locker = me }; goto completing
#ifdef WITHOUT_CHECK_OF_COMPLETION
    /* The completion deletes no row, and the consumer does not check that */
    :: d_step { locker == 0 && !COMPLETES(me) -> job.effects++; forget(me) }; goto end_idle
#else
    :: d_step { locker == 0 && !COMPLETES(me) -> assert(REFUSED_RIGHTLY(me)); forget(me) }; goto end_idle
#endif
    :: d_step { locker == 0 && REPORTS_FAILURE(me) -> assert(HOLDS(me)); end_attempt(); forget(me) }; goto end_idle
#ifndef NO_LEASES
    :: d_step {
           /* fail_job(retry => false) */
           locker == 0 && GIVES_UP(me) -> assert(HOLDS(me)); job.state = FAILED; end_lease(); forget(me)
       };
       goto end_idle
    :: d_step { locker == 0 && SNOOZES(me) -> assert(HOLDS(me)); snooze(); forget(me) }; goto end_idle
#endif
    :: d_step { locker == 0 && !REPORTS_FAILURE(me) -> assert(REFUSED_RIGHTLY(me)); forget(me) }; goto end_idle
    :: d_step { MAY_LOSE_SESSION(me) -> end_session(me) }; goto performing
    :: goto dying
    fi;

completing: /* an open transaction has deleted the row */
    if
    :: locker != me -> goto dying /* the server has crashed meanwhile */
    :: d_step {
           locker == me -> job.state = GONE; end_lease(); job.effects++; locker = 0; forget(me)
       };
       goto end_idle
    :: d_step { locker == me && job.state == RESERVED -> locker = 0 }; goto reserved
    :: d_step { locker == me && job.state != RESERVED -> locker = 0 }; goto performing
    :: d_step { locker == me -> locker = 0 }; goto dying
    fi;

dying:
    if
    :: d_step { end_session(me); forget(me) }
    fi;
    goto end_idle
}

/* The sweeps skip a locked job (SKIP LOCKED) */
proctype sweeps()
{
end:
    do
    :: d_step { locker == 0 && WAITS && due -> make_available() }
    :: d_step { locker == 0 && ACTIVATES(job.expires) -> make_available() }
    :: d_step { locker == 0 && FAILS(job.expires) -> job.state = FAILED; end_lease() }
#ifndef NO_LEASES
    :: d_step {
           /* give_back_jobs */
           locker == 0 && GIVEN_BACK ->
           if
#ifndef WITHOUT_RETURN_OF_RESERVED
           :: job.state == RESERVED -> make_available()
#endif
           :: else -> end_attempt()
           fi
       }
#endif
    :: d_step {
           /* requeue, by a user */
           locker == 0 && job.state == FAILED ->
           job.state = SCHEDULED; job.attempt = 0; end_lease()
       }
    od
}

#ifdef RETENTION
/* The job may be requeued and claimed between the two steps */
proctype retention()
{
end_pass:
    if
    :: job.state == FAILED
    fi;
    if
    :: d_step { locker == 0 && DELETES -> job.state = CANCELLED; end_lease() }
    :: job.state != FAILED /* or the pass ends without it */
    fi;
    goto end_pass
}
#endif

/* From now on the job's holder may be refused */
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
    /* cancel_job, by a user: the job's holder is refused, whatever it does next */
    :: d_step { locker == 0 && EXISTS -> run_out(); job.state = CANCELLED; end_lease() }
#ifdef BY_HAND
    :: d_step { locker == 0 && HELD && job.expires != NULL -> job.expires = NULL; run_out() }
    :: locker == 0 && job.max_attempts > 0 -> job.max_attempts--
#endif
#ifdef ASYNC
    :: d_step {
           flushed.state = job.state; flushed.expires = job.expires; flushed.attempt = job.attempt;
           flushed.max_attempts = job.max_attempts; flushed.lease = job.lease; flushed.holder = job.holder;
           flushed.effects = job.effects; flushed.bound = job.bound; flushed.orphaned = job.orphaned;
#ifdef WITHOUT_RANDOM_LEASES
           flushed_sequence = sequence
#endif
       }
#endif
#if defined(ASYNC) || defined(CRASH)
    :: d_step {
           /* All sessions end. Consumers live on, and connect again with their memory */
           locker = 0;
           byte who = 1;
           do
           :: who <= CONSUMERS ->
#ifdef ASYNC
               ran_out[who] = (lease[who] != 0);
#endif
               end_session(who);
               who++
           :: else -> break
           od;
           who = 0;
#ifdef ASYNC
           job.state = flushed.state; job.expires = flushed.expires; job.attempt = flushed.attempt;
           job.max_attempts = flushed.max_attempts; job.lease = flushed.lease; job.holder = flushed.holder;
           job.effects = flushed.effects; job.bound = flushed.bound; job.orphaned = flushed.orphaned;
#ifdef WITHOUT_RANDOM_LEASES
           sequence = flushed_sequence
#endif
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
#ifdef RETENTION
        run retention();
#endif
        do
        :: me <= CONSUMERS -> run consumer(me); me++
        :: else -> break
        od;
        me = 0
    }
}
