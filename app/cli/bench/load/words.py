"""The words of generated texts: common ones, so that most are one token of any vocabulary."""

ENGLISH = (
    "water stone river bridge road house garden window table paper letter market street station engine train ship "
    "harbour island mountain valley forest field farm village city school teacher student doctor nurse hospital "
    "library museum theatre kitchen bread butter cheese apple orange sugar salt coffee bottle glass metal iron copper "
    "silver gold wood cotton wool leather rope wheel hammer needle knife lamp candle mirror clock bell drum piano "
    "guitar song dance story novel poem picture camera film radio telephone computer machine factory office worker "
    "manager lawyer judge soldier officer captain pilot driver farmer baker painter singer writer reader player winner "
    "summer winter spring autumn morning evening night week month year hour minute moment weather storm rain snow wind "
    "cloud thunder sunlight shadow moon planet ocean lake coast beach desert animal horse sheep goat rabbit bird eagle "
    "fish whale insect spider flower tree branch root seed fruit grass leaf body head hand finger shoulder heart blood "
    "bone skin voice face child mother father brother sister family friend neighbour guest stranger crowd party king "
    "queen prince church temple palace castle tower wall gate door floor roof corner stairs chair bed cupboard carpet "
    "blanket pillow coat shirt jacket shoe button pocket money price coin bank trade profit debt tax law rule order "
    "peace war victory accident rescue repair damage cause effect reason question answer problem method "
    "result report record number figure measure weight height length width speed power energy pressure heat light "
    "sound colour shape surface centre edge middle part piece group pair series list line circle square triangle "
    "open close begin finish carry bring send receive build break count write read speak listen watch "
    "wait walk run climb swim travel arrive leave return follow lead teach learn remember forget choose decide agree "
    "refuse accept offer promise warn protect attack escape discover invent describe explain compare improve reduce "
    "increase support depend belong contain divide cover connect separate replace large small heavy bright quiet early "
    "late quick slow simple careful honest brave gentle strange common rare ancient modern public private foreign local"
)
CHINESE = (
    "时间 问题 工作 生活 学校 学生 老师 医院 城市 农村 道路 河流 大海 山谷 森林 天气 春天 夏天 "
    "秋天 冬天 早晨 晚上 音乐 电影 图书 报纸 新闻 历史 文化 科学 技术 机器 电脑 网络 工厂 市场 "
    "公司 银行 价格 质量 产品 服务 管理 经济 法律 政府 社会 环境 能源 水果 蔬菜 面包 牛奶 茶叶 "
    "衣服 房子 窗户 桌子 汽车 火车 飞机 船只 朋友 家庭"
)
QUESTION_WORDS = tuple(dict.fromkeys(ENGLISH.split()))
"""Words of queries; no Chinese ones, which not every reranker supports."""
WORDS = (*QUESTION_WORDS, *CHINESE.split())
