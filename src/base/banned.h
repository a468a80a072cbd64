/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HF_BASE_BANNED_H
#define HF_BASE_BANNED_H

/*
 * Functions that do not compile here. The build includes this file ahead of every
 * source, so that nobody has to remember it; tests/cases/banned.sh proves each line.
 *
 * The headers that declare them come first: afterwards these names are macros, and a
 * declaration would be taken for a call. Only calls are caught, which leaves a struct
 * free to have a member named sleep.
 */
#include <alloca.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define HF_PRAGMA(text) _Pragma(#text)
#define HF_BANNED(message) HF_PRAGMA(GCC error message)

/* Nobody counts the room that is left. */
#undef strcpy
#define strcpy(...) HF_BANNED("strcpy is banned here; instead: snprintf or a checked memcpy")
#undef stpcpy
#define stpcpy(...) HF_BANNED("stpcpy is banned here; instead: snprintf or a checked memcpy")
#undef strcat
#define strcat(...) HF_BANNED("strcat is banned here; instead: one snprintf")
#undef sprintf
#define sprintf(...) HF_BANNED("sprintf is banned here; instead: snprintf")
#undef vsprintf
#define vsprintf(...) HF_BANNED("vsprintf is banned here; instead: vsnprintf")
#undef gets
#define gets(...) HF_BANNED("gets is banned here; instead: getline")

/* They may leave the end without its zero, or count what is left, not what there is. */
#undef strncpy
#define strncpy(...) HF_BANNED("strncpy is banned here; instead: snprintf or a checked memcpy")
#undef stpncpy
#define stpncpy(...) HF_BANNED("stpncpy is banned here; instead: snprintf or a checked memcpy")
#undef strncat
#define strncat(...) HF_BANNED("strncat is banned here; instead: one snprintf")

/* The stack's size is not known, and a failure cannot be seen. */
#undef alloca
#define alloca(...) HF_BANNED("alloca is banned here; instead: malloc or an array with a bound")
#undef strdupa
#define strdupa(...) HF_BANNED("strdupa is banned here; instead: strdup")
#undef strndupa
#define strndupa(...) HF_BANNED("strndupa is banned here; instead: strndup")

/* No error, and undefined when the number does not fit. */
#undef atoi
#define atoi(...) HF_BANNED("atoi is banned here; instead: strtol and its checks")
#undef atol
#define atol(...) HF_BANNED("atol is banned here; instead: strtol and its checks")
#undef atoll
#define atoll(...) HF_BANNED("atoll is banned here; instead: strtoll and its checks")
#undef atof
#define atof(...) HF_BANNED("atof is banned here; instead: strtod and its checks")

/* One hidden state for all threads. */
#undef strtok
#define strtok(...) HF_BANNED("strtok is banned here; instead: strtok_r or strcspn")
#undef rand
#define rand(...) HF_BANNED("rand is banned here; instead: a generator with its own seed")
#undef srand
#define srand(...) HF_BANNED("srand is banned here; instead: a generator with its own seed")
#undef random
#define random(...) HF_BANNED("random is banned here; instead: a generator with its own seed")
#undef srandom
#define srandom(...) HF_BANNED("srandom is banned here; instead: a generator with its own seed")
#undef drand48
#define drand48(...) HF_BANNED("drand48 is banned here; instead: a generator with its own seed")
#undef ctime
#define ctime(...) HF_BANNED("ctime is banned here; instead: strftime")
#undef asctime
#define asctime(...) HF_BANNED("asctime is banned here; instead: strftime")
#undef gmtime
#define gmtime(...) HF_BANNED("gmtime is banned here; instead: gmtime_r")
#undef localtime
#define localtime(...) HF_BANNED("localtime is banned here; instead: localtime_r")

/* Whoever waits, waits for something: a condition variable, a descriptor, a deadline. */
#undef sleep
#define sleep(...) HF_BANNED("sleep is banned here; instead: wait for the event itself")
#undef usleep
#define usleep(...) HF_BANNED("usleep is banned here; instead: wait for the event itself")

/* Somebody else can make the file between the name and the open. */
#undef tmpnam
#define tmpnam(...) HF_BANNED("tmpnam is banned here; instead: mkstemp")
#undef tempnam
#define tempnam(...) HF_BANNED("tempnam is banned here; instead: mkstemp")
#undef mktemp
#define mktemp(...) HF_BANNED("mktemp is banned here; instead: mkstemp or mkdtemp")

#endif
