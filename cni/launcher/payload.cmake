# cmake -D program=… -D launcher=… -D payload=… -D strip=… -D readelf=… [-D libraries=FOLDER] -P payload.cmake
#
# Gathers in the folder `payload` what an installer puts on a host: launcher, and in files/ the program, the libraries
# that it needs, and the loader, as ld.so. Libraries and loader are those that this machine resolves; for a program of
# another architecture, those of the folder.
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGN} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

file(REMOVE_RECURSE ${payload}/launcher ${payload}/files)
file(MAKE_DIRECTORY ${payload}/files)

# What a program and its libraries name, in turn, and the folder must hold.
function(needed_of ret_found)
  set(found "")
  set(waiting ${program})
  while(waiting)
    list(POP_FRONT waiting file)
    execute_process(COMMAND ${readelf} --dynamic --wide ${file} OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "\\(NEEDED\\)[^\n]*" lines "${dynamic}")
    foreach(line ${lines})
      string(REGEX REPLACE ".*library: (.+)$" "\\1" name "${line}")
      string(REGEX REPLACE "[][]" "" name "${name}")
      if(NOT EXISTS ${libraries}/${name})
        message(FATAL_ERROR "${file} needs ${name}, which is not in ${libraries}")
      endif()
      if(NOT ${libraries}/${name} IN_LIST found)
        list(APPEND found ${libraries}/${name})
        list(APPEND waiting ${libraries}/${name})
      endif()
    endforeach()
  endwhile()
  set(${ret_found} ${found} PARENT_SCOPE)
endfunction()

execute_process(COMMAND ${readelf} --program-headers --wide ${program} OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
if(NOT headers MATCHES "interpreter: ([^]]+)\\]")
  message(FATAL_ERROR "${program} names no loader")
endif()
set(loader ${CMAKE_MATCH_1})
if(libraries)
  get_filename_component(loader ${loader} NAME)
  set(loader ${libraries}/${loader})
  needed_of(found)
else()
  file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${program} RESOLVED_DEPENDENCIES_VAR found)
endif()
file(REAL_PATH ${loader} loader)

foreach(library ${found})
  get_filename_component(name ${library} NAME)
  file(REAL_PATH ${library} file)
  if(NOT file STREQUAL loader)
    configure_file(${file} ${payload}/files/${name} COPYONLY)
  endif()
endforeach()

# A loader preloads what its host's /etc/ld.so.preload names, whatever it is told: libraries of the host that may want
# the host's libc, and then the plugin would not start. The copy looks for a file without a name instead. (No libraries
# come from elsewhere by other ways: the launcher passes --inhibit-cache and --library-path.)
file(COPY_FILE ${loader} ${payload}/files/ld.so)
file(STRINGS ${payload}/files/ld.so preload REGEX "^/etc/ld\\.so\\.preload$")
if(NOT preload)
  message(FATAL_ERROR "${loader}: /etc/ld.so.preload is not in it; is it glibc's?")
endif()
run(${CMAKE_COMMAND} -E env LC_ALL=C sed -i "s|/etc/ld\\.so\\.preload|\\x00etc/ld.so.preload|g" ${payload}/files/ld.so)

file(COPY_FILE ${program} ${payload}/files/fairlead-cni)
run(${strip} --strip-all ${payload}/files/fairlead-cni)
file(GLOB files ${payload}/files/*)
file(CHMOD ${files} PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

# Last, so that a build that was interrupted begins again.
run(${strip} --strip-all -o ${payload}/launcher ${launcher})
