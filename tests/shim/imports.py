"""What Postgres and its modules import from libc and the shim leaves alone: touching no file, or harmless.

A name that is in no table here and isn't interposed makes test_imports.py fail: look what it does to files
before it is entered.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

HARMLESS: Final = MappingProxyType(
    {
        "chmod": "mode bits only; by initdb and for key files, sockets and its own new files",
        "chown": "owner only, of the Unix socket",
        "utime": "times only, of lock files",
        "fstat": "size and times of the local file, which are the right ones; the name doesn't matter",
        "rmdir": "a folder with segments in it isn't empty; one without has none to lose",
        "opendir": "names only; readdir is interposed, for pg_control's",
        "closedir": "goes with opendir",
        "readlink": "there are no links to segments",
        "__realpath_chk": "names only",
        "realpath": "names only",
        "dlopen": "loads modules; nobody can make a segment one",
        "shm_open": "below /dev/shm",
        "shm_unlink": "below /dev/shm",
        "mbstowcs": "reads no file but the locale's",
        "munmap": "segments are never mapped",
        "pipe": "makes descriptors that are no file's",
        "socket": "makes descriptors that are no file's",
        "accept": "makes descriptors that are no file's",
        "epoll_create1": "makes descriptors that are no file's",
        "signalfd": "makes descriptors that are no file's",
        "fork": "the child has a copy of the table of descriptors, as of the descriptors",
        "popen": "a program of its own, without the shim: it finds pg_control's name and no cluster",
        "system": "a program of its own, without the shim: it finds pg_control's name and no cluster",
        "pclose": "goes with popen",
    }
)

# fopen, freopen and fdopen are interposed: no stream is ever on a segment.
_STREAMS = """
    __isoc23_fscanf clearerr fclose feof ferror fflush fgetc fgets fileno fputc fread fseek fseeko ftell
    fwrite getc puts setvbuf stdin stdout
"""
STREAMS: Final = frozenset(_STREAMS.split())

_NO_FILES = """
    __assert_fail __ctype_b_loc __ctype_tolower_loc __ctype_toupper_loc __cxa_atexit __cxa_finalize
    __errno_location __explicit_bzero_chk __fdelt_chk __isoc23_sscanf __isoc23_strtol
    __isoc23_strtoul __libc_start_main __longjmp_chk __memcpy_chk __memmove_chk __memset_chk
    __sigsetjmp __snprintf_chk __stack_chk_fail __stpcpy_chk __strcat_chk __strcpy_chk __strlcpy_chk
    __strncpy_chk __syslog_chk _exit abort acos acosh asin asinh atan atan2 atanh backtrace
    backtrace_symbols backtrace_symbols_fd bind bind_textdomain_codeset bindtextdomain calloc cbrt
    ceil clock_gettime closelog connect cos cosh dcgettext dcngettext dlclose dlerror dlsym
    epoll_ctl epoll_wait erf erfc exit exp floor fmod free freeaddrinfo freeifaddrs gai_strerror
    getaddrinfo getcwd getegid getenv geteuid getgrnam getifaddrs getnameinfo getopt getpid getppid
    getpwuid getpwuid_r getrlimit getrusage getsockname getsockopt gettimeofday getuid
    gnu_get_libc_version isatty iswalnum iswalnum_l iswalpha iswalpha_l iswdigit iswdigit_l iswgraph
    iswgraph_l iswlower iswlower_l iswprint iswprint_l iswpunct iswpunct_l iswspace iswspace_l
    iswupper iswupper_l iswxdigit kill ldexp listen localeconv localtime log log10 malloc memchr
    memcmp memcpy memmove memset nanosleep newlocale nl_langinfo openlog pow prctl raise realloc
    recv recvfrom select sem_destroy sem_init sem_post sem_trywait sem_wait send sendto setenv
    setitimer setlocale setsid setsockopt shmat shmctl shmdt shmget sigaction sigaddset sigdelset
    sigemptyset sigfillset sigprocmask sin sincos sinh sqrt sqrtf srandom stpcpy strcat strchr
    strchrnul strcmp strcoll strcoll_l strcpy strcspn strdup strerror_r strftime strlcat strlcpy
    strlen strncat strncmp strncpy strnlen strpbrk strrchr strsignal strspn strstr strtod strtof
    strtok strxfrm tan tanh textdomain time towlower towlower_l towupper towupper_l umask unsetenv
    uselocale waitpid wcstombs
"""
NO_FILES: Final = frozenset(_NO_FILES.split())
