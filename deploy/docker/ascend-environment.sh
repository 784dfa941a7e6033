# CANN's variables, for a shell of the Ascend image to source. The base image sets them in root's .bashrc only, which
# neither another user nor a program without a shell reads: torch-npu would find no libraries.
for script in /usr/local/Ascend/ascend-toolkit/set_env.sh /usr/local/Ascend/nnal/atb/set_env.sh; do
  # shellcheck disable=SC1090
  if [ -r "$script" ]; then . "$script"; fi
done
# libascend_hal.so and what npu-smi loads: mounted from the host.
driver=/usr/local/Ascend/driver/lib64
export LD_LIBRARY_PATH="$driver:$driver/common:$driver/driver${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
