/* The model of one key: transactions that write an event and enqueue a job of the key, consumers that perform jobs, and a
 * sweep. A job that is performed handles the events that it sees. When nothing is left to do, every committed event must
 * have been handled; and two jobs never wait at once.
 *
 * Each enqueuer runs one transaction, which commits or is rolled back. An event is visible when its transaction has
 * committed, so its INSERT is no step of its own. A statement is atomic here. Where PostgreSQL would wait for an open
 * transaction, the step cannot be taken; a sweep postpones the job instead.
 *
 * The runner defines names that begin with WITHOUT_: that guard is missing, and an assertion must fail. */

#define ENQUEUERS 3
#define JOBS ENQUEUERS
#define BIT(e) (1 << (e))

mtype:state = { NONE, WAITING, RUNNING, ABANDONED }; /* ABANDONED: its consumer has died, its lease will end */

typedef Job {
    mtype:state state;
    byte inserter; /* the open transaction that has inserted the job; 0: none */
    byte locks; /* the open transactions that keep the job, a bit each */
}
Job jobs[JOBS];
byte committed, handled; /* events, a bit for each enqueuer */
byte waiting; /* how many jobs wait, visible or not */

#define VISIBLE(j) (jobs[j].state == WAITING && jobs[j].inserter == 0)
#define UNCOMMITTED(j) (jobs[j].state == WAITING && jobs[j].inserter != 0)
#define SOME_UNCOMMITTED (UNCOMMITTED(0) || UNCOMMITTED(1) || UNCOMMITTED(2))
#define SOME_WAITING (jobs[0].state == WAITING || jobs[1].state == WAITING || jobs[2].state == WAITING)

#ifdef WITHOUT_WAITING_ONLY
/* The unique index covers jobs that run, too */
#define TAKES_THE_KEY(j) (VISIBLE(j) || jobs[j].state == RUNNING || jobs[j].state == ABANDONED)
#else
#define TAKES_THE_KEY(j) VISIBLE(j)
#endif

#ifdef WITHOUT_WAIT_AT_RETURN
#define CAN_RETURN true
#else
#define CAN_RETURN (!SOME_UNCOMMITTED)
#endif

/* To be called within a d_step: the job waits again, or gives way */
inline return_job(j)
{
    if
#ifndef WITHOUT_SUPERSEDING
    :: SOME_WAITING -> jobs[j].state = NONE
#endif
    :: else -> jobs[j].state = WAITING; waiting++
    fi;
    assert(waiting <= 1)
}

proctype enqueuer(byte me)
{
    byte j;
    d_step {
        !SOME_UNCOMMITTED ->
        j = 0;
        do
        :: j < JOBS && !TAKES_THE_KEY(j) -> j++
        :: else -> break
        od;
        if
        :: j < JOBS ->
#ifndef WITHOUT_LOCK
            jobs[j].locks = jobs[j].locks | BIT(me)
#else
            skip
#endif
        :: else ->
            j = 0;
            do
            :: jobs[j].state != NONE -> j++
            :: else -> break
            od;
            jobs[j].state = WAITING;
            jobs[j].inserter = me;
            waiting++
        fi;
        assert(waiting <= 1)
    }
    if
    :: d_step {
           committed = committed | BIT(me);
           j = 0;
           do
           :: j < JOBS ->
               jobs[j].locks = jobs[j].locks & ~BIT(me);
               jobs[j].inserter = (jobs[j].inserter == me -> 0 : jobs[j].inserter);
               j++
           :: else -> break
           od
       }
    :: d_step {
           j = 0;
           do
           :: j < JOBS ->
               jobs[j].locks = jobs[j].locks & ~BIT(me);
               if
               :: jobs[j].inserter == me ->
                   jobs[j].state = NONE;
                   jobs[j].inserter = 0;
                   waiting--
               :: else -> skip
               fi;
               j++
           :: else -> break
           od
       }
    fi
}

inline start(which)
{
    d_step {
        VISIBLE(which) && jobs[which].locks == 0 ->
        jobs[which].state = RUNNING;
        waiting--;
        j = which
    }
}

proctype consumer()
{
    byte j, seen;
end:
    do
    :: if
       :: start(0)
       :: start(1)
       :: start(2)
       fi;
       if
       :: seen = committed;
          d_step { handled = handled | seen; jobs[j].state = NONE; seen = 0 }
       :: d_step { CAN_RETURN -> return_job(j) }
       :: jobs[j].state = ABANDONED
       fi;
       j = 0
    od
}

proctype sweep()
{
end:
    do
    :: d_step { jobs[0].state == ABANDONED && CAN_RETURN -> return_job(0) }
    :: d_step { jobs[1].state == ABANDONED && CAN_RETURN -> return_job(1) }
    :: d_step { jobs[2].state == ABANDONED && CAN_RETURN -> return_job(2) }
    od
}

/* Nothing can happen any more */
proctype watch()
{
end:
    timeout -> assert(handled == committed)
}

init
{
    atomic {
        jobs[0].state = NONE; jobs[1].state = NONE; jobs[2].state = NONE;
        run watch();
        run sweep();
        run consumer();
        run consumer();
        run enqueuer(1);
        run enqueuer(2);
        run enqueuer(3)
    }
}
