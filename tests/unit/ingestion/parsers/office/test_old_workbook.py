"""A real BIFF8 file, kept packed: what writes such files is no dependency."""

import struct
from base64 import b85decode
from zlib import decompress

import pytest

from ingestion.errors import EncryptedDocument, ParseFailed
from ingestion.parsers.detect import XLS, detect
from ingestion.parsers.office.old_workbook import read_old_workbook
from tests.support.files.ole import ole

WORKBOOK = decompress(b85decode(
    'c-rk)O=wd=5dL=an!J?$B()V<p@xWUt-XjB57wxlJsGM9ib%CJAt}{VLMc{6t2N-IAP9ourBDxEs$TrTAM_x25Gr~Q1ffxSDhPs74{e?^llN->'
    'lm@iW^1jE;?3>-$ne5KaZr<C`;Mmapnk?pF2Rz7Get2ie6cxYo5&*SZ7FQi^Qn6gDDELiUNN*9Il)mxt8uEH)p>fZ6Nfh`@<tR=g+MSArmJz$f'
    'hjzt2G%JH*PvaJqGE|FS6+%x4T_g0a^nEIHr$`2cHdEg*bp)f4XyZ0Jjt}dww3QK6cqlp_MY07|c+GKq;i}5_EyAvJXZy+3(ok!ZU>LO4E%8)5'
    '&F>p<8|6@a$UkB9w1shsxS0qeMtnRT#uzFoHiq%T3IX4pB=92S%9mHJK=Pk+<-R}2O<LH+<bD_n<kz$T^us!?ct>PVf~3JMT1`g3_GW0Oobz%N'
    'd6Ddl#p0<cG*CoA3TceT*C&WgMz<%4`4jbn#LR=eZ4`WGiuv4-JQJ9cXG&%Fl@N_l0CGJjdoVzrPu=<UZeK@h<d{hM<!s5HKpWXpSh&a<q+BK~'
    ';w+t6K%;1E7J5lWT_^P#p_Sw@@w(P3yRvsc`dpUQI<m7>@IF#MtKLBM%*6gjwV5xGO;jIg$)2qo`4AbR-Qg$il{^DzQcddS4aVb$!<C(@J_)T}'
    'khe@7uzk1eW40XAD3)qaX#S07N6oxxd#+ep&C`BH7M0}4>#sCfnYiNP{jW{QqC5&~X&Gg%O)WNg7SHQqdqupq70<l>&uJb!wvXJ~BfZ(TaiVO='
    'lfOym3OwL}DJ%cRa>Rt1p(`~e)S@wAIJ1hyX4QoY7cN}5aN*+bP;#rw-<%EmKF{|spZ#5Dno7?7OtNZm0NwQT(7(YwND)t?ub}u@iz4NWrIx7U'
    'd@p1iBI{{%p+o%WDmZ@W9<65oo+T>={@oTT)PAlIKmW7+U(EXwt^'
))  # fmt: skip
"""Made with xlwt: a date, a number and a truth value under formats, merged cells, a hidden sheet."""
START = struct.pack("<HHHHHHII", 0x0809, 16, 0x0600, 5, 0x0DBB, 1996, 0, 6)


def test_values_are_as_they_are_shown() -> None:
    assert detect(WORKBOOK, filename="a.xls", declared="application/vnd.ms-excel") == XLS
    found = read_old_workbook(WORKBOOK)
    assert found.text == (
        "## 价目\n\n| 日期 | 价格 | 有货 |\n| --- | --- | --- |\n| 2024年5月1日 | 1,234.50 | TRUE |\n| 合并 | 1 |  |\n"
        "| 合并 | 2 |  |\n\n## hidden\n\nx"
    )
    assert found.report.warnings == ("Hidden sheets were read as well: hidden.",)


def test_a_password_is_told() -> None:
    protected = START + struct.pack("<HHHHH", 0x2F, 6, 1, 1, 1) + bytes(48) + struct.pack("<HH", 0x0A, 0)
    with pytest.raises(EncryptedDocument):
        read_old_workbook(ole({"Workbook": protected.ljust(5000, b"\0")}))


@pytest.mark.parametrize("cut", [10, 600, 1500, 2600, 4000, 5000])
def test_cut_files_fail_cleanly(cut: int) -> None:
    with pytest.raises(ParseFailed):
        read_old_workbook(WORKBOOK[:cut])
