/* The model of giving back the jobs of ended sessions: sessions with numbers, the flag in shared memory, and a
 * scheduler that reads the table first and then the live sessions. job.pml has the other states of a job.
 * test/model/run has Spin visit every reachable state.
 *
 * Two sessions claim a job, complete it, quickly or slowly, or end, at any time, and another session replaces one that
 * ended. A new number is, as job.pml's leases, the smallest that no process remembers. A name that begins with WITHOUT_
 * is a missing guard: an assertion must fail. */

#define NUMBERS 4 /* two of live sessions, one in the table, one that the scheduler has read */

/* Shared memory: the numbers of the live sessions, 0 for none, and the flag that there are jobs to give back */
byte living[3];
bool noted;

/* A session's own number, also before it is in shared memory */
byte number[3];
#ifdef WITHOUT_ONE_STEP_AT_END
bool leaving[3];
#endif

/* The table: whether the job is held, the session's number in its lease (0: a lease that is not bound, whose bits are the
 * number of no live session), and the transaction that has the row locked */
bool held;
byte bound_to;
byte locker;

/* The session that claimed the job, 0 when it has ended; only the assertions read this */
byte holder;
#define ORPHANED (held && bound_to != 0 && holder == 0)

/* The scheduler: its step, and the number that it has read */
mtype:look = { RESTING, READING, GIVING };
mtype:look look;
byte seen;
#ifdef WITHOUT_LIVING_READ_LAST
byte lived[3];
#define OF_SEEN_SESSION(who) (lived[who] == seen)
#else
#define OF_SEEN_SESSION(who) (living[who] == seen)
#endif
#define SEEN_LIVES (seen != 0 && (OF_SEEN_SESSION(1) || OF_SEEN_SESSION(2)))

#ifdef WITHOUT_LOWEST_BIT
#define BOUND held
#else
#define BOUND (held && bound_to != 0)
#endif
#ifdef WITHOUT_NUMBER_AT_GIVING_BACK
#define OF_SEEN BOUND
#else
#define OF_SEEN (BOUND && bound_to == seen)
#endif

#ifdef WITHOUT_NEW_NUMBERS
#define REMEMBERED(n) (number[1] == n || number[2] == n)
#else
#define REMEMBERED(n) (number[1] == n || number[2] == n || bound_to == n || seen == n)
#endif

/* The job of an ended session will be given back */
#define NOTICED (!ORPHANED || noted || look != RESTING)

proctype watch()
{
end:
    atomic { !NOTICED -> assert(NOTICED) }
}

/* To be called within a d_step */
inline get_number(me)
{
    byte n = 1;
    do
    :: n <= NUMBERS && REMEMBERED(n) -> n++
    :: else -> break
    od;
    assert(n <= NUMBERS);
    number[me] = n;
#ifndef WITHOUT_NUMBER_BEFORE_LEASE
    living[me] = n;
#endif
    n = 0
}

/* To be called within a d_step, after the abort of the session's transaction */
inline end_session(me)
{
    if
    :: locker == me -> locker = 0
    :: else
    fi;
    if
    :: holder == me -> holder = 0
    :: else
    fi;
    number[me] = 0;
    living[me] = 0
}

inline let_go()
{
    held = false;
    bound_to = 0;
    holder = 0;
    locker = 0
}

proctype session(byte me)
{
end:
    do
    /* The session may need its number for another job, too */
    :: d_step { number[me] == 0 -> get_number(me) }
#ifdef WITHOUT_NUMBER_BEFORE_LEASE
    :: d_step { number[me] != 0 && living[me] == 0 -> living[me] = number[me] }
#endif
    :: d_step { !held && number[me] != 0 -> held = true; bound_to = number[me]; holder = me }
    :: d_step { !held -> held = true; holder = me }
    /* A session that has the lease may complete the job, which is locked meanwhile, for any time */
    :: d_step { held && locker == 0 -> locker = me }
    :: d_step { locker == me -> let_go() }
    :: d_step { locker == me -> locker = 0 }
#ifdef WITHOUT_ONE_STEP_AT_END
    :: d_step { living[me] != 0 && !leaving[me] -> noted = true; leaving[me] = true }
    :: d_step { leaving[me] -> leaving[me] = false; end_session(me) }
#else
    :: d_step { living[me] != 0 -> end_session(me); noted = true }
#endif
    od
}

inline rest()
{
    look = RESTING;
    seen = 0
}

/* The scheduler skips a locked job, and searches again */
proctype scheduler()
{
end:
    do
    :: d_step {
           look == RESTING && noted ->
           noted = false;
#ifdef WITHOUT_LIVING_READ_LAST
           lived[1] = living[1]; lived[2] = living[2];
#endif
           look = READING
       }
    :: d_step { look == READING && BOUND -> seen = bound_to; look = GIVING }
    :: d_step { look == READING && !BOUND -> rest() }
    /* An ended session never lives again, so the scheduler may check in the step that gives back */
    :: d_step {
           look == GIVING && !SEEN_LIVES && OF_SEEN && locker == 0 ->
           assert(holder == 0); /* no job is taken from a live session */
           let_go(); rest()
       }
    :: d_step {
           look == GIVING && !SEEN_LIVES && OF_SEEN && locker != 0 ->
#ifndef WITHOUT_RETRY_OF_LOCKED
           noted = true;
#endif
           rest()
       }
    :: d_step { look == GIVING && (SEEN_LIVES || !OF_SEEN) -> rest() }
    od
}

/* A crash empties shared memory, and the new scheduler begins with a search; a lease ends by its time */
proctype world()
{
end:
    do
    :: d_step { held && locker == 0 -> let_go() }
    :: d_step {
           locker = 0;
           end_session(1);
           end_session(2);
#ifdef WITHOUT_ONE_STEP_AT_END
           leaving[1] = false; leaving[2] = false;
#endif
           rest();
#ifdef WITHOUT_LOOK_AT_START
           noted = false
#else
           noted = true
#endif
       }
    od
}

init
{
    atomic {
        look = RESTING;
        run watch();
        run scheduler();
        run world();
        run session(1);
        run session(2)
    }
}
