"""Work in processes of its own, forked from one that has TensorFlow imported, not used.

Such a process starts at once and is as separate as any other.
"""

import os
import traceback


def forked(work, *args, **options):
    """Runs `work` in a fork.

    Returns:
        0; minus the signal that killed it; the status it exited with; 100 and the error
        number for an `OSError`; 1 for any other exception.
    """
    return waited(started(work, *args, **options))


def started(work, *args, **options):
    """Begins `work` in a fork; returns its process id."""
    pid = os.fork()
    if pid == 0:
        try:
            work(*args, **options)
        except SystemExit as error:
            os._exit(error.code)
        except OSError as error:
            traceback.print_exc()
            os._exit(100 + (error.errno or 0) % 100)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return pid


def waited(pid):
    """How a fork ended."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def parallel(tasks, workers=2):
    """Runs functions, a few at a time, and raises when one of them fails."""

    def work(share):
        for task in share:
            task()

    pids = [started(work, tasks[number::workers]) for number in range(workers)]
    codes = [waited(pid) for pid in pids]
    assert not any(codes), codes
